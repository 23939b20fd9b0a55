"""Rig files: which actuator moves what, and how far."""
