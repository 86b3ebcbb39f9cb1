"""Captions read aloud by voices that are installed here; nothing is fetched or sent."""
