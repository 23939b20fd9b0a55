"""Training and export of the speech student."""
