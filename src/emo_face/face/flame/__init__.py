"""FLAME: model files, coefficients, maps to ARKit, the 3D head."""
