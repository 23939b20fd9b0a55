"""A drawn 3D head whose emotion is known."""
