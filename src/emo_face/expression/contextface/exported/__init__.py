"""ContextFace from its exported graphs: without torch, on any engine."""
