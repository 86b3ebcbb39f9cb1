"""Learning from other captioners."""
