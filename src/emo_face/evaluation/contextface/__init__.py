"""ContextFace judged as its paper judges it."""
