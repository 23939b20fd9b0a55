"""Actuator buses behind one protocol."""
