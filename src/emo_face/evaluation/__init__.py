"""Metrics, calibration and reports."""
