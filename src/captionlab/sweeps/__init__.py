"""Jobs over devices, and the search over their settings."""
