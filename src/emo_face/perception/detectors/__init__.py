"""How files of detectors are understood: YOLO heads, and YuNet without OpenCV's class."""
