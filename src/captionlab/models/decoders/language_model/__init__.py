"""Pretrained language models as decoders."""
