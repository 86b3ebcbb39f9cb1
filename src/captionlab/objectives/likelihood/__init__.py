"""Objectives of a reference's likelihood."""
