"""Metrics and calibration for single-label and multi-label emotions."""
