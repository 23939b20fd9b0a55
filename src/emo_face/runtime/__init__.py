"""Model store and inference backends."""
