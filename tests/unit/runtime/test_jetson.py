"""scripts/jetson.sh says what it would do for each JetPack; its checks stop it where something essential is missing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "jetson.sh"
# First line of /etc/nv_tegra_release as NVIDIA writes it
L4T = "# R{} (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n"


def jetson(tmp_path: Path, release: str, *words: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "nv_tegra_release"
    file.write_text(L4T.format(release))
    env = {**os.environ, "L4T_RELEASE": str(file), "VENV": "/opt/venv"}
    return subprocess.run(["bash", str(SCRIPT), *words], env=env, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("release", "jetpack", "cuda", "index"),
    [("36", "6", "cuda-python>=12.8,<13", True), ("38", "7", ">=13,<14", False)],
)
def test_each_jetpack_gets_its_own_wheels(tmp_path: Path, release: str, jetpack: str, cuda: str, index: bool) -> None:
    done = jetson(tmp_path, release, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"JetPack {jetpack} (L4T R{release})" in done.stdout
    assert cuda in done.stdout
    assert ("jp6/cu126" in done.stdout) == index
    commands = [line for line in done.stdout.splitlines() if line.startswith("+ ")]
    remove = next(i for i, line in enumerate(commands) if "uninstall" in line)
    assert "onnxruntime-gpu" in commands[remove + 1]  # the two packages share a folder: the order matters
    assert commands[-2:] == ["+ /opt/venv/bin/emo-face engine build", "+ /opt/venv/bin/emo-face doctor"]


def test_what_is_essential_and_missing_stops_it(tmp_path: Path) -> None:
    done = jetson(tmp_path, "36")
    assert done.returncode == 1
    assert "TensorRT of JetPack: missing: sudo apt-get install python3-libnvinfer" in done.stdout
    assert "mend what is missing above" in done.stderr
    assert jetson(tmp_path, "36", "--check").returncode == 1


def test_other_machines_and_words_are_refused(tmp_path: Path) -> None:
    assert "L4T R35: expected R36 (JetPack 6)" in jetson(tmp_path, "35").stderr
    assert "expected --check or --dry-run" in jetson(tmp_path, "36", "--now").stderr
    env = {**os.environ, "L4T_RELEASE": str(tmp_path / "none")}
    done = subprocess.run(["bash", str(SCRIPT)], env=env, capture_output=True, text=True)
    assert "this is no Jetson; on a PC use scripts/setup.sh tensorrt" in done.stderr


def test_compose_and_the_dockerfiles_fit_together() -> None:
    import yaml

    folder = SCRIPT.parents[1] / "docker"
    services = yaml.safe_load((folder / "compose.yaml").read_text())["services"]
    assert set(services) == {"cpu", "cuda", "jetson"}
    for name, service in services.items():
        file = folder.parent / service["build"]["dockerfile"]
        assert file.is_file()
        assert service["profiles"] == [name]
        assert "/dev/video0" in service["devices"][0]
        text = file.read_text()
        assert " detector" in text.partition("scripts/setup.sh")[2].splitlines()[0], "the cascade is the last resort"
        copied = [word for word in text.split() if word.startswith("scripts/")]
        assert all((folder.parent / word).is_file() for word in copied)
