"""Labeling a folder of pictures: a model proposes captions, people correct them, nothing is lost."""
