"""Hydra launchers that come with captionlab."""
