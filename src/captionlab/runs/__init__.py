"""Run folders: claimed, read back, compared."""
