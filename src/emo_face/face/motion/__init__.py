"""How a face moves between targets: blinks, gaze, breathing, lips."""
