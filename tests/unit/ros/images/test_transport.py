"""The Fast DDS profile: chosen when nobody chose, never over the user's own choice."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from emo_face.ros.images.transport import use_profile


@pytest.mark.parametrize(
    ("distro", "name"),
    [
        ("", "FASTDDS_DEFAULT_PROFILES_FILE"),
        ("kilted", "FASTDDS_DEFAULT_PROFILES_FILE"),
        ("humble", "FASTRTPS_DEFAULT_PROFILES_FILE"),
    ],
)
def test_profile_is_named_and_holds_an_image(distro: str, name: str) -> None:
    environment = {"ROS_DISTRO": distro}
    assert use_profile(environment)
    tree = ET.parse(Path(environment[name])).getroot()
    space = {"d": "http://www.eprosima.com"}
    sizes = [int(node.text or 0) for node in tree.findall(".//d:segment_size", space)]
    assert min(sizes) >= 1920 * 1080 * 3
    assert 4 * max(sizes) < 64e6  # four nodes fit into Docker's /dev/shm


@pytest.mark.parametrize(
    "own",
    [
        {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"},
        {"FASTDDS_DEFAULT_PROFILES_FILE": "/mine.xml"},
        {"FASTRTPS_DEFAULT_PROFILES_FILE": "/mine.xml"},
        {"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"},
        {"ROS_LOCALHOST_ONLY": "1"},
    ],
)
def test_the_users_choice_stands(own: dict[str, str]) -> None:
    environment = dict(own)
    assert not use_profile(environment)
    assert environment == own


def test_without_shared_memory_the_defaults_stay(tmp_path: Path) -> None:
    assert not use_profile({}, str(tmp_path / "absent"))
