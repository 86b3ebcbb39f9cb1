"""Recurrent decoders."""
