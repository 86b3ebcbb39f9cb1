"""Objectives that reward generated captions."""
