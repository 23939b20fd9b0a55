"""face/flame/codes.py: parameter files in the structure that each tracker of FLAME writes."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from emo_face.core.errors import ModelError
from emo_face.face.flame.codes import FlameCodes, from_6d, read_codes, read_fields, write_codes

RNG = np.random.default_rng(3)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


# VHAP, export/export_as_nerf_dataset.py: flame_param/00000.npz, as GaussianAvatars and four more public readers take it
def vhap(timesteps: int = 1) -> dict[str, np.ndarray]:
    per_frame = {"translation": 3, "rotation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6, "expr": 100}
    fields = {name: normal(timesteps, width) for name, width in per_frame.items()}
    return {**fields, "shape": normal(300), "static_offset": normal(1, 20, 3)}


def test_vhap(tmp_path: Path) -> None:
    fields = vhap()
    np.savez(tmp_path / "00000.npz", **fields)
    codes = read_codes(tmp_path / "00000.npz")
    np.testing.assert_allclose(codes.expression, fields["expr"][0], rtol=1e-6)
    np.testing.assert_allclose(codes.shape, fields["shape"], rtol=1e-6)
    np.testing.assert_allclose(codes.jaw, fields["jaw_pose"][0], rtol=1e-6)
    np.testing.assert_allclose(codes.root, fields["rotation"][0], rtol=1e-6)
    np.savez(tmp_path / "tracked_flame_params_30.npz", **vhap(5))  # a whole sequence
    with pytest.raises(ModelError, match=r"one face, got shape \(5, "):
        read_codes(tmp_path / "tracked_flame_params_30.npz")


# tracker.py, save_checkpoint of both: torch.save of NumPy arrays; jaw and eyes by matrix_to_rotation_6d
@pytest.mark.parametrize("tool", ["metrical-tracker", "pixel3dmm"])
def test_frames_of_trackers(tmp_path: Path, tool: str) -> None:
    torch = pytest.importorskip("torch", reason="writes the file: scripts/setup.sh train")
    turn = Rotation.from_rotvec([0.3, -0.05, 0.02])
    six = turn.as_matrix()[:2].reshape(1, 6).astype(np.float32)
    flame = {
        "exp": normal(1, 100),
        "shape": normal(1, 300),
        "eyes": normal(1, 12),
        "eyelids": np.array([[0.2, 0.4]], np.float32),
        "jaw": six,
    }
    if tool == "pixel3dmm":
        flame |= {"neck": normal(1, 6), "R": normal(1, 6), "R_rotation_matrix": normal(1, 3, 3), "t": normal(1, 3)}
    else:
        flame |= {"tex": normal(1, 140), "sh": normal(1, 9, 3)}
    frame = {
        "flame": flame,
        "camera": {"R": normal(1, 3, 3)},
        "opencv": {"K": normal(1, 3, 3)},
        "img_size": np.array([512, 512]),
        "frame_id": "00007",
        "global_step": 123,
    }
    torch.save(frame, tmp_path / "00007.frame")
    codes = read_codes(tmp_path / "00007.frame")
    np.testing.assert_allclose(codes.expression, flame["exp"][0])
    np.testing.assert_allclose(codes.jaw, turn.as_rotvec(), atol=1e-6)
    np.testing.assert_allclose(codes.eyelids, [0.2, 0.4], rtol=1e-6)


def test_a_frame_that_is_hostile_runs_nothing(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.frame", "w") as archive:
        archive.writestr("a/data.pkl", b"cos\nsystem\n(S'touch " + str(tmp_path / "made").encode() + b"'\ntR.")
    with pytest.raises(ModelError, match=r"os\.system"):
        read_codes(tmp_path / "a.frame")
    assert not (tmp_path / "made").exists()


def test_inferno(tmp_path: Path) -> None:
    """radekd91/inferno, inferno_apps/FaceReconstruction/utils/output.py, save_codes(): one face, without an axis."""
    fields = {"shape": 300, "exp": 100, "tex": 50, "jawpose": 3, "globalpose": 3, "cam": 3, "lightcode": 27}
    values = {name: normal(size) for name, size in fields.items()}
    for name, array in values.items():
        np.save(tmp_path / f"{name}.npy", array)
    codes = read_codes(tmp_path)
    np.testing.assert_allclose(codes.expression, values["exp"])
    np.testing.assert_allclose([*codes.root, *codes.jaw], [*values["globalpose"], *values["jawpose"]])


# DECA and spectre, decalib/deca.py encode(): the codedict; EMOCA saves the same as *.npy, or with "code" behind
@pytest.mark.parametrize("ending", ["", "code"])
def test_deca_emoca_and_spectre(ending: str, tmp_path: Path) -> None:
    fields = {
        f"shape{ending}": normal(1, 100),
        f"exp{ending}": normal(1, 50),
        f"pose{ending}": normal(1, 6),
        f"tex{ending}": normal(1, 50),
        "cam": normal(1, 3),
        f"light{ending}": normal(1, 9, 3),
        f"detail{ending}": normal(1, 128),
    }
    folder = tmp_path / "person00"
    folder.mkdir()
    for name, values in fields.items():
        np.save(folder / f"{name}.npy", values)
    codes = read_codes(folder)
    np.testing.assert_allclose(codes.expression[:50], fields[f"exp{ending}"][0])
    np.testing.assert_allclose(np.concatenate([codes.root, codes.jaw]), fields[f"pose{ending}"][0])
    assert not codes.expression[50:].any()


# SMIRK, src/smirk_encoder.py: the dictionary that forward() returns
def test_smirk(tmp_path: Path) -> None:
    fields = {
        "pose_params": normal(1, 3),
        "cam": normal(1, 3),
        "shape_params": normal(1, 300),
        "expression_params": normal(1, 50),
        "eyelid_params": normal(1, 2),
        "jaw_params": normal(1, 3),
    }
    np.savez(tmp_path / "p.npz", **fields)
    codes = read_codes(tmp_path / "p.npz")
    np.testing.assert_allclose(codes.jaw, fields["jaw_params"][0])
    np.testing.assert_allclose(codes.eyelids, fields["eyelid_params"][0])


# MICA, demo.py: identity.npy, the 300 shape coefficients
def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_pear(tmp_path: Path) -> None:
    """PEAR, models/smplx/smplx_head.py: eyes (6), pose, jaw and eyelids of one decoder, one row each."""
    row = {"eye_pose_params": np.ones((1, 6)), "pose_params": [[0.1, 0, 0]], "jaw_params": [[0.2, 0, 0]]}
    row |= {
        "eyelid_params": [[0.3, 0.4]],
        "expression_params": np.full((1, 50), 0.5),
        "shape_params": np.ones((1, 300)),
    }
    codes = read_codes(npz(tmp_path / "pear.npz", **row))
    assert (codes.root[0], codes.jaw[0], codes.eyelids.tolist()) == (0.1, 0.2, [0.3, 0.4])
    assert codes.expression.sum() == 25


def test_gagavatar_track(tmp_path: Path) -> None:
    """GAGAvatar_track: the values of one key of its results, as its own renderer reads them."""
    row = {"shapecode": np.zeros(300), "expcode": np.full(100, 0.5), "posecode": [0.1, 0, 0, 0.2, 0, 0]}
    codes = read_codes(npz(tmp_path / "g.npz", eyecode=np.zeros(6), transform_matrix=np.zeros((3, 4)), **row))
    assert (codes.root[0], codes.jaw[0], codes.expression.sum()) == (0.1, 0.2, 50)


def test_exavatar(tmp_path: Path) -> None:
    """ExAvatar's flame_init/flame_params/*.json; a frame without a face says so."""
    body = {name: [0.0, 0.0, 0.0] for name in ("neck_pose", "leye_pose", "reye_pose", "trans")}
    body |= {"root_pose": [0.1, 0, 0], "jaw_pose": [0.2, 0, 0], "expr": [0.5] * 50, "is_valid": True}
    path = tmp_path / "0.json"
    path.write_text(json.dumps(body))
    codes = read_codes(path)
    assert (codes.root[0], codes.jaw[0], codes.expression.sum()) == (0.1, 0.2, 25)
    path.write_text(json.dumps(body | {"is_valid": False}))
    with pytest.raises(ModelError, match="is_valid is false"):
        read_codes(path)


def test_mica(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    np.save(tmp_path / "p" / "identity.npy", identity := normal(300))
    np.testing.assert_allclose(read_codes(tmp_path / "p").shape, identity)


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"kpt2d": np.zeros(3)}, r"unknown arrays kpt2d; known are .*jaw"),
        ({"expression": np.zeros(50)}, "expression is given twice, as exp and expression"),
        ({"jaw": np.zeros(6)}, "six numbers that are no rotation"),
        ({"jaw": np.zeros(4)}, "4 numbers, expected 3"),
    ],
)
def test_unknown_and_contradictory_arrays_are_refused(extra: dict[str, Any], says: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", exp=normal(1, 50), **extra)
    with pytest.raises(ModelError, match=says):
        read_codes(tmp_path / "p.npz")


def test_our_own_form_reads_back(tmp_path: Path) -> None:
    codes = FlameCodes(expression=np.linspace(0, 1, 100), jaw=np.array([0.1, 0, 0]))
    write_codes(tmp_path / "c.json", codes)
    np.testing.assert_allclose(read_codes(tmp_path / "c.json").expression, codes.expression)
    nested = {"flame": json.loads((tmp_path / "c.json").read_text()), "camera": {}}
    (tmp_path / "n.json").write_text(json.dumps(nested))
    assert "expression" in read_fields(tmp_path / "n.json")


@pytest.mark.parametrize("seed", range(20))
def test_6d_rotations_are_those_of_scipy(seed: int) -> None:
    turn = Rotation.random(random_state=seed)
    scaled = turn.as_matrix()[:2] * [[2.0], [0.5]]  # what an optimiser leaves needs no unit length
    np.testing.assert_allclose(
        Rotation.from_rotvec(from_6d(scaled.reshape(6), "x")).as_matrix(), turn.as_matrix(), atol=1e-6
    )
