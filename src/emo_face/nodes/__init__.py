"""Thin lifecycle nodes that wire the libraries to ROS."""

import os

from emo_face.core.interrupts import quiet_as_program

quiet_as_program("_node")  # before the imports that take seconds

from emo_face.core.types import MAX_PIXELS  # noqa: E402

# A second wall behind ros/images/compressed.py: OpenCV reads its own limit once, when it is imported first.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
