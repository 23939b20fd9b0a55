"""Fast DDS settings of a process that publishes images."""

from __future__ import annotations

import os
import shutil

from emo_face.core.paths import data_file

_PROFILES = "FASTDDS_DEFAULT_PROFILES_FILE"
_PROFILES_2 = "FASTRTPS_DEFAULT_PROFILES_FILE"
_WITH_FAST_DDS_2 = ("humble", "iron", "jazzy")
_CHOSEN = (_PROFILES, _PROFILES_2, "FASTDDS_BUILTIN_TRANSPORTS")
SHARED_MEMORY = "/dev/shm"
ROOM = 64 * 1024 * 1024
"""Bytes of free shared memory below which the small default is kept."""


def make_room_for_images() -> bool:
    """Give the participant of this process a shared-memory segment that holds whole images.

    Call before ``rclpy.init``. Does nothing, and returns False, where the user chose settings of their own or shared
    memory is short. Other middlewares do not read these variables.
    """
    if any(os.environ.get(name) for name in _CHOSEN) or os.environ.get("ROS_LOCALHOST_ONLY") == "1":
        return False
    try:
        if shutil.disk_usage(SHARED_MEMORY).free < ROOM:
            return False
    except OSError:
        return False
    old = os.environ.get("ROS_DISTRO", "") in _WITH_FAST_DDS_2
    os.environ[_PROFILES_2 if old else _PROFILES] = str(data_file("fastdds_images.xml"))
    return True
