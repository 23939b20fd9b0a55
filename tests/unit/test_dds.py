"""ros/dds.py: which setting is made, and when the user's own is left alone."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import pytest

from emo_face.ros import dds

VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "ROS_LOCALHOST_ONLY", "ROS_DISTRO"):
        monkeypatch.setenv(name, "")  # so that what the code sets is undone
        monkeypatch.delenv(name)
    monkeypatch.setattr(dds.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))


@pytest.mark.parametrize(("distro", "name"), [("", VARIABLES[0]), ("kilted", VARIABLES[0]), ("humble", VARIABLES[1])])
def test_the_profile_holds_whole_images(monkeypatch: pytest.MonkeyPatch, distro: str, name: str) -> None:
    monkeypatch.setenv("ROS_DISTRO", distro)
    assert dds.make_room_for_images()
    tree = ElementTree.parse(os.environ[name])
    sizes = {e.tag.split("}")[1]: int(e.text or 0) for e in tree.iter() if e.text and e.text.strip().isdigit()}
    assert sizes["segment_size"] >= 2 * 1920 * 1080 * 3
    assert not os.environ.get(VARIABLES[1 if name == VARIABLES[0] else 0])


@pytest.mark.parametrize("name", VARIABLES)
def test_a_users_own_settings_win(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "mine")
    assert not dds.make_room_for_images()
    assert {v: os.environ.get(v) for v in VARIABLES if os.environ.get(v)} == {name: "mine"}


def test_short_shared_memory_keeps_the_small_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dds.shutil, "disk_usage", lambda _: SimpleNamespace(free=60 * 2**20))
    assert not dds.make_room_for_images()
