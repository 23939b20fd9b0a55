"""Training and export of the multi-view emotion model."""
