"""Trained captioners as folders for others: weights and JSON, ONNX graphs, torch programs, a hub."""
