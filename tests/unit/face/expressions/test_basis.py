"""The open expression basis: encode, bounded decode, and the script that builds it."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import lsq_linear

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.errors import ModelError
from emo_face.core.paths import share_dir
from emo_face.face.expressions.basis import RIDGE, Basis, FaceCode, find_basis, load_basis, open_basis
from emo_face.face.expressions.boxqp import solve_box_qp
from emo_face.face.expressions.facs import default_facs
from emo_face.face.expressions.ict import arkit_from_ict, load_ict

ROOT = Path(__file__).resolve().parents[4]
LOOK = [ARKIT_INDEX[n] for n in ARKIT_52 if n.startswith("eyeLook")]
CARRIED = np.array([i for i, n in enumerate(ARKIT_52) if i not in LOOK and n != "tongueOut"])
faces = arrays(np.float64, 52, elements=st.floats(0, 1))


def carried(arkit: np.ndarray) -> np.ndarray:
    """The face without what the basis says it cannot carry: tongue, eyes apart, a jaw pushed both ways."""
    face = arkit.copy()
    face[LOOK] = 0
    face[ARKIT_INDEX["tongueOut"]] = 0
    left, right = ARKIT_INDEX["jawLeft"], ARKIT_INDEX["jawRight"]
    face[right if face[left] >= face[right] else left] = 0
    return face


@given(faces)
def test_round_trip(arkit: np.ndarray) -> None:
    basis, face = open_basis(), carried(arkit)
    assert np.abs(basis.decode(basis.encode(face)) - face).max() < 0.02


@pytest.mark.parametrize("index", CARRIED)
def test_every_single_shape_survives(index: int) -> None:
    basis, face = open_basis(), np.zeros(52)
    face[index] = 1.0
    np.testing.assert_allclose(basis.decode(basis.encode(face)), face, atol=0.005)


def test_every_expression_of_the_table_survives() -> None:
    basis = open_basis()
    for name, face in zip(default_facs().expressions, default_facs().prototypes, strict=True):
        assert np.abs(basis.decode(basis.encode(face)) - face).max() < 0.005, name


def test_zero_in_zero_out() -> None:
    basis = open_basis()
    code = basis.encode(np.zeros(52))
    assert not code.stacked().any()
    assert not basis.decode(code).any()


def test_channels_have_the_documented_signs() -> None:
    basis = open_basis()

    def code(**values: float) -> FaceCode:
        face = np.zeros(52)
        for name, value in values.items():
            face[ARKIT_INDEX[name]] = value
        return basis.encode(face)

    assert np.degrees(code(jawOpen=1).jaw_pose[0]) == pytest.approx(25, abs=8)
    assert code(jawLeft=1).jaw_pose[1] > 0 > code(jawRight=1).jaw_pose[1]
    np.testing.assert_allclose(code(eyeBlinkLeft=1).eyelids, [1, 0])
    np.testing.assert_allclose(np.degrees(code(eyeLookOutLeft=1, eyeLookInRight=1).gaze), [30, 0], atol=1e-4)
    np.testing.assert_allclose(np.degrees(code(eyeLookDownLeft=0.5, eyeLookDownRight=0.5).gaze), [0, -15], atol=1e-4)
    for name in ("jawOpen", "eyeBlinkLeft", "eyeLookUpLeft"):
        assert not code(**{name: 1}).coefficients.any(), name


def test_gaze_decodes_to_both_eyes() -> None:
    basis = open_basis()
    rest = basis.encode(np.zeros(52))
    face = basis.decode(replace(rest, gaze=np.radians([15.0, -6.0])))
    expected = {"eyeLookOutLeft": 0.5, "eyeLookInRight": 0.5, "eyeLookDownLeft": 0.2, "eyeLookDownRight": 0.2}
    for i, name in enumerate(ARKIT_52):
        assert face[i] == pytest.approx(expected.get(name, 0.0), abs=0.01), name


def test_coefficients_have_unit_deviation_and_end_at_the_rank() -> None:
    basis = open_basis()
    assert basis.rank == 42  # of 57 shapes less jaw 3, lids 2, gaze 8 and pupils 2
    assert not basis.matrix[basis.rank : 100].any()
    rows = basis.matrix[:100]
    lengths = np.linalg.norm(rows, axis=0)
    assert lengths.max() <= np.sqrt(2) * 3 + 1e-3  # one full shape is three deviations; two for both-sided names
    assert lengths[ARKIT_INDEX["mouthSmileLeft"]] == pytest.approx(3, abs=1e-3)
    assert (np.diff(basis.weights[: basis.rank]) <= 1e-6).all()


@given(arrays(np.float64, 107, elements=st.floats(-6, 6)))
@settings(max_examples=60)
def test_any_code_decodes_to_the_bounded_optimum(values: np.ndarray) -> None:
    """Against SciPy's own solver on the same problem, for codes far outside what a face can make."""
    basis = open_basis()
    code = FaceCode(values[:100], values[100:103], values[103:105], values[105:])
    ours = basis.decode(code)
    assert (ours >= 0).all()
    assert (ours <= 1).all()
    matrix = np.vstack([basis.weights[:, None] * basis.matrix, RIDGE * np.eye(52)])
    target = np.concatenate([basis.weights * values, np.zeros(52)])
    theirs = lsq_linear(matrix, target, bounds=(0, 1), method="bvls", tol=1e-12).x

    def cost(x: np.ndarray) -> float:
        return float(np.sum((matrix @ x - target) ** 2))

    assert cost(ours) <= cost(theirs) * (1 + 1e-9) + 1e-9


@given(faces, faces)
def test_the_start_changes_nothing_but_the_speed(arkit: np.ndarray, start: np.ndarray) -> None:
    basis = open_basis()
    code = basis.encode(arkit)
    # Both stop at 1e-9 of the gradient; along flat directions of the basis the ridge alone, 1e-4, holds a channel.
    np.testing.assert_allclose(basis.decode(code, start), basis.decode(code), atol=2 * 1e-9 / RIDGE**2)


@given(st.integers(1, 12), st.integers(0, 2**31))
def test_solver_meets_the_optimality_conditions(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    half = rng.standard_normal((n, n))
    hessian, linear = half @ half.T + 1e-3 * np.eye(n), rng.standard_normal(n) * 3
    x = solve_box_qp(hessian, linear)
    gradient = hessian @ x - linear
    assert (gradient[x <= 0] > -1e-6).all()
    assert (gradient[x >= 1] < 1e-6).all()
    assert (np.abs(gradient[(x > 0) & (x < 1)]) < 1e-6).all()


@pytest.mark.parametrize("bad", [np.zeros(51), np.full(52, np.nan), np.full(52, np.inf)])
def test_encode_refuses_what_is_no_face(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="52 finite"):
        open_basis().encode(bad)


def test_decode_refuses_what_is_no_code() -> None:
    rest = open_basis().encode(np.zeros(52))
    with pytest.raises(ValueError, match="finite"):
        open_basis().decode(replace(rest, coefficients=np.full(100, np.nan)))
    with pytest.raises(ValueError, match=r"coefficients.*\(50,\)"):
        open_basis().decode(replace(rest, coefficients=np.zeros(50)))


def test_broken_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"missing\.npz not found"):
        load_basis(tmp_path / "missing.npz")
    garbage = tmp_path / "garbage.npz"
    garbage.write_bytes(b"not a zip")
    with pytest.raises(ModelError, match=r"garbage\.npz"):
        load_basis(garbage)
    with np.load(share_dir() / "models" / "open_ict_1.npz") as data:
        fields = {k: data[k] for k in data.files}
    np.savez(tmp_path / "short.npz", **{**fields, "weights": np.zeros(7)})
    with pytest.raises(ModelError, match=r"short\.npz: weights .*\(107,\), got \(7,\)"):
        load_basis(tmp_path / "short.npz")
    np.savez(tmp_path / "order.npz", **{**fields, "arkit_names": fields["arkit_names"][::-1]})
    with pytest.raises(ModelError, match=r"order\.npz: arkit_names"):
        load_basis(tmp_path / "order.npz")


def test_bases_are_found_by_the_name_in_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    find_basis.cache_clear()
    assert find_basis("open-ict-1") is open_basis()
    with pytest.raises(ModelError, match=r"flame2023.*emo-face flame import"):
        find_basis("flame2023")


def test_the_manifest_knows_the_file() -> None:
    entries = yaml.safe_load((share_dir() / "models" / "manifest.yaml").read_text())["models"]
    entry = next(e for e in entries if e["name"] == "open-ict-1")
    data = (share_dir() / "models" / entry["file"]).read_bytes()
    assert (entry["sha256"], entry["size"]) == (hashlib.sha256(data).hexdigest(), len(data))
    assert "MIT" in entry["licence"]


def test_ict_names_cover_arkit_and_their_sides_are_the_faces_own(assets: Path) -> None:
    head = load_ict(assets / "head3d")
    used = [ict for sources in arkit_from_ict().values() for ict in sources]
    assert len(used) == len(set(used)) == 53
    assert set(used) <= set(head.names)
    for name in ARKIT_52:
        if name.startswith(("jaw", "mouthLeft", "mouthRight")) or not name.endswith(("Left", "Right")):
            continue
        moved = np.linalg.norm(head.arkit_delta(name), axis=1)
        side = float((moved * head.vertices[:, 0]).sum())
        assert (side > 0) == name.endswith("Left"), name
    for name, sign in (("mouthLeft", 1), ("mouthRight", -1), ("jawLeft", 1), ("jawRight", -1)):
        assert np.sign(head.arkit_delta(name)[:, 0].sum()) == sign, name


def test_the_script_rebuilds_the_packaged_file(assets: Path) -> None:
    spec = importlib.util.spec_from_file_location("build_open_basis", ROOT / "export" / "build_open_basis.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    arrays_now = module.build(load_ict(assets / "head3d"))
    packaged: Basis = open_basis()
    rebuilt = np.concatenate([arrays_now[f"{n}_from_arkit"] for n in ("coefficients", "jaw", "eyelids", "gaze")])
    np.testing.assert_allclose(rebuilt, packaged.matrix, atol=1e-4)
    np.testing.assert_allclose(arrays_now["weights"], packaged.weights, rtol=1e-4)


def test_coefficients_measure_the_mesh(assets: Path) -> None:
    """The weighted distance of two codes is the root-mean-square distance of the skin they stand for."""
    head, basis = load_ict(assets / "head3d"), open_basis()
    skin = head.material_vertices("M_Face")
    rng = np.random.default_rng(3)
    for _ in range(3):
        a, b = np.zeros(52), np.zeros(52)
        expressive = [i for i, n in enumerate(ARKIT_52) if n.startswith(("mouth", "brow", "cheek", "nose"))]
        a[expressive], b[expressive] = rng.uniform(size=(2, len(expressive)))
        code = basis.weights[:100] * (basis.encode(a).coefficients - basis.encode(b).coefficients)
        moved = 10 * np.linalg.norm(head.posed(a)[skin] - head.posed(b)[skin], axis=1)
        # Vertices are not spread evenly over the skin, so the plain mean only agrees roughly.
        assert np.linalg.norm(code) == pytest.approx(float(np.sqrt((moved**2).mean())), rel=0.5)
