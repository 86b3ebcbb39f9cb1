"""Blind comparison of captioning systems by people, and what their judgments come to."""
