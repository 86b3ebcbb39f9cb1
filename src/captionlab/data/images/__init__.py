"""Image files, checked and prepared."""
