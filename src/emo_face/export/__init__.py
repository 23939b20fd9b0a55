"""Trained models to ONNX, each checked against its original; a module per kind has ``add_arguments`` and ``run``."""
