"""Thin lifecycle nodes that wire the libraries to ROS."""
