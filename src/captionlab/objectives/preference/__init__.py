"""Objectives that prefer one generated caption to another."""
