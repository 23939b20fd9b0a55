"""The parts of the face driver node."""
