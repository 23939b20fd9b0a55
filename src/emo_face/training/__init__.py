"""Training recipes; never imported by a node."""
