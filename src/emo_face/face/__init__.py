"""Face parameters, motion, the safety gate, rigs and drivers. No ROS, no torch at import."""
