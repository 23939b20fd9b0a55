"""Readers of face pictures that the FER student learns from or is judged on."""
