"""Training and export of ContextFace."""
