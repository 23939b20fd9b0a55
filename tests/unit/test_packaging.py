"""What rosdep, colcon and bloom read: package.xml and CHANGELOG.rst of both packages."""

import ast
import re
from pathlib import Path

import pytest

pytest.importorskip("catkin_pkg", reason="comes with the ROS wheels and with every distribution")
from catkin_pkg.changelog import get_changelog_from_path
from catkin_pkg.package import Package, parse_package
from catkin_pkg.package_version import get_forthcoming_label

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"emo_face": ROOT, "emo_face_msgs": ROOT / "ros2_ws" / "src" / "emo_face_msgs"}
KEYS = {"PyYAML": "yaml", "opencv-python-headless": "opencv", "onnxruntime": "onnxruntime-pip"}
"""Requirement -> rosdep key behind ``python3-`` where they differ (rosdistro, rosdep/python.yaml)."""
OPTIONAL = {"hri_msgs", "tf2_msgs", "tf2_ros", "foxglove_msgs"}
"""Imported only where they are installed; each import names the command that brings it."""


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> Package:
    return parse_package(str(PACKAGES[request.param]))


def test_the_manifest_is_valid_and_its_version_is_everywhere(package: Package) -> None:
    package.validate()
    assert f'version="{package.version}"' in (ROOT / "setup.py").read_text()
    assert f"version: {package.version}" in (ROOT / "CITATION.cff").read_text()


def test_the_changelog_is_one_that_bloom_reads(package: Package) -> None:
    changelog = get_changelog_from_path(str(PACKAGES[package.name]), package.name)
    assert changelog.package_name == package.name
    coming = get_forthcoming_label(changelog.rst)  # what catkin_prepare_release gives a version and a date
    assert coming == "Forthcoming" or package.version in [version for version, _, _ in changelog.foreach_version()]


def test_every_requirement_has_a_rosdep_key_or_a_pip_line() -> None:
    text = (ROOT / "package.xml").read_text()
    declared = {depend.name for depend in parse_package(str(ROOT)).exec_depends}
    runtime = re.search(r"RUNTIME = \[(.+?)\n\]", (ROOT / "setup.py").read_text(), re.DOTALL)
    assert runtime is not None
    names = re.findall(r'^    "([\w-]+)', runtime[1], re.MULTILINE)
    by_pip = " ".join(re.findall(r"`pip install (.+?)`", text))
    without = [n for n in names if f"python3-{KEYS.get(n, n)}" not in declared and n not in by_pip]
    assert without == []


def test_every_ros_package_that_is_imported_is_declared() -> None:
    declared = {depend.name for depend in parse_package(str(ROOT)).exec_depends}
    imported = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            imported |= {m.split(".")[0] for m in modules if re.match(r"(rclpy|\w+_(msgs|srvs)|tf2_\w+)(\.|$)", m)}
    assert imported - OPTIONAL - declared - {"rosidl_runtime_py"} == set()
