"""Thin lifecycle nodes that wire the libraries to ROS."""

import os

from emo_face.core.types import MAX_PIXELS

# A second wall behind ros/images/compressed.py: OpenCV reads its own limit once, when it is imported first.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
