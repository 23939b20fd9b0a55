"""Files of a version that this release does not know are refused by name; those without the field are read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from emo_face.core.errors import UserError
from emo_face.core.paths import share_dir
from emo_face.face.expressions.basis import load_basis
from emo_face.face.rig.rig import load_rig
from emo_face.perception.fusion import read_fusion
from emo_face.perception.nano.blendshapes import read_weights
from emo_face.perception.nano.face import FaceStudent
from emo_face.perception.nano.text import TextStudent
from emo_face.runtime.store import read_manifest

Reader = Callable[[Path], object]


def set_yaml(path: Path, version: object) -> None:
    body = yaml.safe_load(path.read_text(encoding="utf-8"))
    body.pop("version", None)
    path.write_text(yaml.safe_dump(body | ({} if version is None else {"version": version})), encoding="utf-8")


def set_json(path: Path, version: object) -> None:
    body = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(body | ({} if version is None else {"version": version})), encoding="utf-8")


def set_npz(path: Path, version: object) -> None:
    with np.load(path) as data:
        arrays = dict(data)
    np.savez(path, **arrays, **({} if version is None else {"version": np.array(version)}))


def set_onnx(path: Path, version: object) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(path)
    for number, entry in reversed(list(enumerate(model.metadata_props))):
        if entry.key == "version":
            del model.metadata_props[number]
    if version is not None:
        model.metadata_props.add(key="version", value=str(version))
    onnx.save(model, path)


FILES: list[tuple[str, Reader, Callable[[Path, object], None]]] = [
    ("config/rigs/minimal_4servo.yaml", load_rig, set_yaml),
    ("models/manifest.yaml", read_manifest, set_yaml),
    ("models/nano_fusion.yaml", read_fusion, set_yaml),
    ("models/nano_blendshapes.json", read_weights, set_json),
    ("models/open_ict_1.npz", load_basis, set_npz),
    ("models/nano_face.onnx", FaceStudent, set_onnx),
]


@pytest.mark.parametrize(("name", "read", "set_version"), FILES, ids=[name for name, *_ in FILES])
def test_an_unknown_version_is_refused_and_none_is_the_first(
    name: str, read: Reader, set_version: Callable[[Path, object], None], tmp_path: Path
) -> None:
    path = Path(shutil.copy(share_dir() / name, tmp_path))
    for known in (None, 1):
        set_version(path, known)
        read(path)
    set_version(Path(shutil.copy(share_dir() / name, tmp_path)), 2)
    with pytest.raises(UserError, match=rf"{path.name}.*version.*reads version 1; update emo_face"):
        read(path)


def test_a_speech_student_of_before_is_refused(tmp_path: Path) -> None:
    """Version 2 has 28 emotions, valence and arousal; a file without the field is of version 1."""
    path = Path(shutil.copy(share_dir() / "models" / "nano_text.onnx", tmp_path))
    set_onnx(path, 2)
    TextStudent(path)
    for unknown in (None, 1, 3):
        set_onnx(path, unknown)
        with pytest.raises(UserError, match=r"nano_text\.onnx.*version.*reads version 2; update emo_face"):
            TextStudent(path)
