"""Detect, track, cut views, read emotions, calibrate, smooth. No ROS, no torch at import."""
