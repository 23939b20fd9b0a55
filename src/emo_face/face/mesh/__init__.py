"""Meshes: files, surfaces, pictures."""
