"""Training and export of the FER student (facial emotion recognition)."""
