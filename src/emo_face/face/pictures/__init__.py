"""Flat pictures of faces: sketch, gallery, reach of a rig."""
