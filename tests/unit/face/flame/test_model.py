"""FLAME: the allow-list unpickler and the forward model, on a synthetic model of FLAME's layout."""

from __future__ import annotations

import contextlib
import io
import math
import os
import pickle
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from emo_face.core.errors import ModelError
from emo_face.face.flame.model import FlameModel, FlamePose, guess_version, load_flame, rotation_matrix
from emo_face.face.flame.pickle import array_of, parse_flame_pickle

VERTICES = 5023


def synthetic_fields(seed: int = 0, vertices: int = VERTICES) -> dict[str, Any]:
    """A random model with FLAME's keys, shapes and data types."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(5, 0.3), size=vertices)
    regressor = np.zeros((5, vertices))
    for row in regressor:
        row[rng.choice(vertices, 12, replace=False)] = rng.dirichlet(np.ones(12))
    return {
        "v_template": rng.normal(scale=0.1, size=(vertices, 3)),
        "shapedirs": rng.normal(scale=1e-3, size=(vertices, 3, 400)),
        "posedirs": rng.normal(scale=1e-3, size=(vertices, 3, 36)),
        "weights": weights,
        "J_regressor": sparse.csc_matrix(regressor),
        "f": rng.integers(0, vertices, size=(9976, 3)).astype(np.uint32),
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]], dtype=np.uint32),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


@pytest.fixture(scope="module")
def fields() -> dict[str, Any]:
    return synthetic_fields()


@pytest.fixture
def chumpy() -> Iterator[type]:
    """A stand-in for the chumpy package whose objects pickle as chumpy 0.70's do (``Ch.__getstate__``)."""

    class Ch:
        def __init__(self, **state: Any) -> None:
            self.__dict__.update(state)
            self.__dict__.update(_dirty_vars={"x"}, _itr=None)

    names = {"chumpy": {}, "chumpy.ch": {"Ch": Ch}, "chumpy.reordering": {}}
    for kind in ("Select", "Concatenate", "transpose", "Reshape"):
        names["chumpy.reordering"][kind] = type(kind, (Ch,), {"__module__": "chumpy.reordering"})
    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    for name, content in names.items():
        module = types.ModuleType(name)
        module.__dict__.update(content)
        sys.modules[name] = module
    yield Ch
    for name in names:
        del sys.modules[name]


def python2_dump(fields: dict[str, Any]) -> bytes:
    """Protocol 2 with the module names that Python 2, NumPy 1 and an old SciPy wrote."""
    data = pickle.dumps(fields, protocol=2)
    for new, old in (
        (b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"),
        (b"cscipy.sparse._csc\n", b"cscipy.sparse.csc\n"),
        (b"ccopyreg\n", b"ccopy_reg\n"),
        (b"cbuiltins\n", b"c__builtin__\n"),
    ):
        data = data.replace(new, old)
    return data


# --- reading --------------------------------------------------------------------------------------------------------


def same(model: FlameModel, fields: dict[str, Any]) -> None:
    np.testing.assert_array_equal(model.template, fields["v_template"])
    np.testing.assert_array_equal(model.directions, fields["shapedirs"])
    np.testing.assert_array_equal(model.pose_directions, fields["posedirs"])
    np.testing.assert_array_equal(model.weights, fields["weights"])
    np.testing.assert_array_equal(model.regressor, fields["J_regressor"].toarray())
    np.testing.assert_array_equal(model.faces, fields["f"])
    assert model.parents == (-1, 0, 1, 1, 1)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_of_any_protocol_loads(tmp_path: Path, fields: dict[str, Any], protocol: int) -> None:
    path = tmp_path / "flame2023.pkl"
    path.write_bytes(pickle.dumps(fields, protocol=protocol))
    model = load_flame(path)
    assert model.version == "flame2023"
    same(model, fields)


def test_a_python_2_pickle_with_chumpy_loads_without_chumpy(
    tmp_path: Path, fields: dict[str, Any], chumpy: type
) -> None:
    wrapped = dict(fields)
    for name in ("v_template", "shapedirs", "posedirs", "weights"):
        wrapped[name] = chumpy(x=fields[name])
    wrapped["J"] = sys.modules["chumpy.reordering"].Concatenate(m0=chumpy(x=np.zeros(3)))  # computed, but not needed
    data = python2_dump(wrapped)
    assert b"cnumpy.core.multiarray\n" in data
    assert b"chumpy.ch\nCh" in data
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(data)
    for name in [n for n in sys.modules if n.split(".")[0] == "chumpy"]:
        sys.modules[name] = types.ModuleType(name)  # emptied: importing anything from it would now fail
    model = load_flame(path)
    assert model.version == "flame2020"
    same(model, fields)


def test_chumpy_that_only_moves_numbers_is_evaluated_and_the_rest_refused(chumpy: type) -> None:
    kinds = sys.modules["chumpy.reordering"]
    grid = np.arange(12.0).reshape(3, 4)
    data = pickle.dumps(
        {
            "select": kinds.Select(a=chumpy(x=grid), idxs=np.array([1, 5, 9, 11]), preferred_shape=(2, 2)),
            "turned": kinds.transpose(a=grid, axes=None),
            "flat": kinds.Reshape(a=grid, newshape=(12,)),
            "sum": kinds.Concatenate(m0=grid),
        },
        protocol=2,
    )
    fields = parse_flame_pickle(data, "x.pkl")
    np.testing.assert_array_equal(array_of(fields, "select", "x.pkl"), [[1, 5], [9, 11]])
    np.testing.assert_array_equal(array_of(fields, "turned", "x.pkl"), grid.T)
    np.testing.assert_array_equal(array_of(fields, "flat", "x.pkl"), grid.ravel())
    with pytest.raises(ModelError, match=r"x\.pkl: sum .*chumpy Concatenate"):
        array_of(fields, "sum", "x.pkl")
    with pytest.raises(ModelError, match=r"x\.pkl: other is missing"):
        array_of(fields, "other", "x.pkl")


@given(arrays(np.float64, (2, 3)), st.sampled_from(["<f4", ">f8", "<i2", ">u4", "|u1", "<i8", "|b1"]), st.booleans())
def test_arrays_of_any_plain_type_and_order_survive(values: np.ndarray, dtype: str, fortran: bool) -> None:
    with np.errstate(all="ignore"):
        array = np.asarray(np.nan_to_num(values) % 100).astype(dtype)
    array = np.asfortranarray(array) if fortran else array
    fields = parse_flame_pickle(pickle.dumps({"a": array, "n": np.float32(2.5)}, protocol=4), "x.pkl")
    np.testing.assert_array_equal(array_of(fields, "a", "x.pkl"), array)
    assert array_of(fields, "n", "x.pkl") == 2.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"v_template": np.zeros((9, 3))}, "shapedirs must be finite with shape"),
        ({"weights": np.full((VERTICES, 5), np.nan)}, "weights must be finite"),
        ({"f": np.full((3, 3), VERTICES)}, "vertex indices below 5023"),
        ({"kintree_table": np.zeros((2, 24), dtype=np.int64)}, r"kintree_table must have shape \(2, 5\)"),
        ({"kintree_table": np.array([[0, 3, 1, 1, 1], range(5)])}, "earlier parent"),
        ({"shapedirs": "none"}, "shapedirs is no array"),
    ],
)
def test_another_layout_is_named(tmp_path: Path, fields: dict[str, Any], change: dict[str, Any], message: str) -> None:
    path = tmp_path / "flame2023.pkl"
    path.write_bytes(pickle.dumps({**fields, **change}))
    with pytest.raises(ModelError, match=message):
        load_flame(path)


def test_missing_damaged_and_nameless_files_are_named(tmp_path: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"flame2020\.pkl not found"):
        load_flame(tmp_path / "flame2020.pkl")
    cut = tmp_path / "flame2020.pkl"
    cut.write_bytes(pickle.dumps(fields)[:5000])
    with pytest.raises(ModelError, match=r"flame2020\.pkl (refused|is no readable pickle)"):
        load_flame(cut)
    with pytest.raises(ModelError, match="--version"):
        guess_version(tmp_path / "mine.pkl")
    with pytest.raises(ModelError, match=r"unknown version 'smpl'"):
        load_flame(cut, "smpl")
    npz = tmp_path / "flame2023.npz"
    np.savez(npz, **{k: (v.toarray() if sparse.issparse(v) else v) for k, v in fields.items()})
    same(load_flame(npz), fields)


# --- hostile pickles ------------------------------------------------------------------------------------------------


class Calls:
    """Pickles to a call of ``function(*args)``."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


def raw(*parts: bytes) -> bytes:
    return b"\x80\x02" + b"".join(parts) + b"."


SET_ATTRIBUTE = b"N}X\x08\x00\x00\x00__code__K\x01s\x86b"
HOSTILE = {
    "os.system": (lambda mark: pickle.dumps({"f": Calls(os.system, f"touch {mark}")}), r"asks for (posix|nt)\.system"),
    "subprocess": (lambda mark: pickle.dumps(Calls(subprocess.call, ["touch", str(mark)])), "subprocess.call"),
    "eval": (lambda mark: pickle.dumps([Calls(eval, f"open({str(mark)!r}, 'w')")]), "builtins.eval"),
    "open": (lambda mark: pickle.dumps({"f": Calls(open, str(mark), "w")}), r"asks for _?io\.open"),
    "getattr": (lambda mark: pickle.dumps(Calls(getattr, 1, "real")), "builtins.getattr"),
    "numpy.load": (lambda mark: pickle.dumps(Calls(np.load, str(mark))), r"numpy\.load|numpy\.lib"),
    "dotted name": (lambda mark: raw(b"cchumpy.ch\nos.system\n"), r"chumpy\.ch\.os\.system"),
    "chumpy submodule of another": (lambda mark: raw(b"cchumpy.a.b\nCh\n"), r"chumpy\.a\.b"),
    "lookalike module": (lambda mark: raw(b"cchumpyx\nCh\n"), r"chumpyx\.Ch"),
    "persistent id": (lambda mark: raw(b"Pabc\n"), "persistent id"),
    "extension registry": (lambda mark: raw(b"\x82\x01"), "refused|no readable"),
    "protocol 0 instance": (lambda mark: b"(S'touch x'\nios\nsystem\n.", r"os\.system"),
    "change of an allowed function": (
        lambda mark: raw(b"cnumpy.core.multiarray\n_reconstruct\n", SET_ATTRIBUTE),
        "changes array",
    ),
    "change of a holder class": (lambda mark: raw(b"cchumpy.ch\nCh\n", SET_ATTRIBUTE), "no readable|refused"),
    "object arrays": (lambda mark: pickle.dumps({"f": np.array([Calls(os.system, f"touch {mark}")])}), "system"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_is_refused_by_name_and_nothing_runs(tmp_path: Path, name: str) -> None:
    make, message = HOSTILE[name]
    mark = tmp_path / "ran"
    data = make(mark)
    before = set(sys.modules)
    with pytest.raises(ModelError, match=message) as caught:
        parse_flame_pickle(data, "evil.pkl")
    assert "evil.pkl" in str(caught.value)
    assert "nothing was run" in str(caught.value)
    assert not mark.exists()
    assert not {m for m in set(sys.modules) - before if "chumpy" in m}


def test_the_hostile_pickles_are_real(tmp_path: Path) -> None:
    """The plain unpickler does run them: the tests above cannot pass for the wrong reason."""
    mark = tmp_path / "ran"
    pickle.loads(HOSTILE["os.system"][0](mark))
    assert mark.exists()


def test_arrays_that_lie_are_refused_when_asked_for() -> None:
    honest = pickle.dumps({"a": np.zeros(4)}, protocol=2)
    lies = {
        "shape": honest.replace(b"K\x04\x85", b"K\x7f\x85"),
        "dtype": honest.replace(b"f8", b"O8"),
        "objects": pickle.dumps({"a": np.array([{}, "x"], dtype=object)}, protocol=2),
        "records": pickle.dumps({"a": np.zeros(2, dtype=[("x", "f4")])}, protocol=2),
    }
    for name, data in lies.items():
        with pytest.raises(ModelError, match=r"x\.pkl"):
            array_of(parse_flame_pickle(data, f"{name} x.pkl"), "a", f"{name} x.pkl")


def test_nested_expressions_cannot_be_used_as_a_bomb(chumpy: type) -> None:
    select = sys.modules["chumpy.reordering"].Select
    node: Any = chumpy(x=np.zeros(3))
    for _ in range(60):
        node = select(a=node, idxs=node, preferred_shape=node)
    fields = parse_flame_pickle(pickle.dumps({"v_template": node}), "x.pkl")
    with pytest.raises(ModelError, match="v_template"):
        array_of(fields, "v_template", "x.pkl")


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_random_bytes_never_do_anything_but_fail(data: bytes) -> None:
    with contextlib.suppress(ModelError):
        parse_flame_pickle(data, "x.pkl")


@given(st.integers(0, 3000), st.integers(0, 255))
@settings(max_examples=100)
def test_a_flipped_byte_never_does_anything_but_fail(place: int, value: int) -> None:
    data = bytearray(pickle.dumps({"a": np.arange(12.0).reshape(3, 4), "s": sparse.csc_matrix(np.eye(3))}, protocol=2))
    data[place % len(data)] = value
    with contextlib.suppress(ModelError):
        fields = parse_flame_pickle(bytes(data), "x.pkl")
        for name in fields:
            array_of(fields, name, "x.pkl")


# --- the forward model ----------------------------------------------------------------------------------------------


def reference_vertex(
    fields: dict[str, Any], index: int, beta: Any, psi: Any, pose: Any, lids: Any, eyelids: Any
) -> list[float]:
    """One vertex by plain loops, written from the papers' equations alone; 4x4 matrices, math only."""

    def rodrigues(v: Any) -> list[list[float]]:
        angle = math.sqrt(sum(float(c) ** 2 for c in v))
        if angle == 0:
            return [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]
        x, y, z = (float(c) / angle for c in v)
        c, s = math.cos(angle), math.sin(angle)
        return [
            [c + x * x * (1 - c), x * y * (1 - c) - z * s, x * z * (1 - c) + y * s],
            [y * x * (1 - c) + z * s, c + y * y * (1 - c), y * z * (1 - c) - x * s],
            [z * x * (1 - c) - y * s, z * y * (1 - c) + x * s, c + z * z * (1 - c)],
        ]

    def shaped(i: int) -> list[float]:
        out = []
        for axis in range(3):
            value = float(fields["v_template"][i, axis])
            for k, b in enumerate(beta):
                value += float(b) * float(fields["shapedirs"][i, axis, k])
            for k, e in enumerate(psi):
                value += float(e) * float(fields["shapedirs"][i, axis, 300 + k])
            for side in range(2):
                value += float(lids[side]) * float(eyelids[side, i, axis])
            out.append(value)
        return out

    regressor = fields["J_regressor"].toarray()
    joints = []
    for row in regressor:
        used = [(float(row[i]), shaped(int(i))) for i in np.flatnonzero(row)]
        joints.append([sum(w * v[axis] for w, v in used) for axis in range(3)])
    rotations = [rodrigues(p) for p in pose]
    feature = [rotations[j][r][c] - (r == c) for j in range(1, 5) for r in range(3) for c in range(3)]
    position = shaped(index)
    for axis in range(3):
        position[axis] += sum(f * float(fields["posedirs"][index, axis, k]) for k, f in enumerate(feature))

    def product(a: Any, b: Any) -> list[list[float]]:
        return [[sum(a[i][k] * b[k][j] for k in range(4)) for j in range(4)] for i in range(4)]

    def local(j: int, offset: list[float]) -> list[list[float]]:
        return [[*rotations[j][r], offset[r]] for r in range(3)] + [[0.0, 0.0, 0.0, 1.0]]

    parents = [-1, 0, 1, 1, 1]
    world = [local(0, joints[0])]
    for j in range(1, 5):
        world.append(product(world[parents[j]], local(j, [joints[j][a] - joints[parents[j]][a] for a in range(3)])))
    total = [0.0, 0.0, 0.0]
    for j in range(5):
        back = [[1.0, 0, 0, -joints[j][0]], [0, 1.0, 0, -joints[j][1]], [0, 0, 1.0, -joints[j][2]], [0, 0, 0, 1.0]]
        move = product(world[j], back)
        for r in range(3):
            moved = sum(move[r][c] * position[c] for c in range(3)) + move[r][3]
            total[r] += float(fields["weights"][index, j]) * moved
    return total


@pytest.fixture(scope="module")
def model(fields: dict[str, Any]) -> FlameModel:
    rng = np.random.default_rng(7)
    return FlameModel(
        "flame2023",
        fields["v_template"],
        fields["f"].astype(np.int32),
        fields["shapedirs"],
        fields["posedirs"],
        fields["J_regressor"].toarray(),
        fields["weights"],
        (-1, 0, 1, 1, 1),
        rng.normal(scale=1e-2, size=(2, VERTICES, 3)),
    )


def random_inputs(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=300), rng.normal(size=100), rng.normal(scale=0.6, size=(5, 3)), rng.uniform(size=2)


def test_numpy_agrees_with_the_slow_reference(fields: dict[str, Any], model: FlameModel) -> None:
    beta, psi, pose, lids = random_inputs(1)
    vertices = model.forward(beta, psi, FlamePose(*pose), lids)
    for index in (0, 17, 2500, VERTICES - 1):
        expected = reference_vertex(fields, index, beta, psi, pose, lids, model.eyelids)
        np.testing.assert_allclose(vertices[index], expected, atol=1e-10)


def test_rest_is_the_template_and_fewer_coefficients_are_zero_padded(model: FlameModel) -> None:
    np.testing.assert_array_equal(model.forward(), model.template)
    np.testing.assert_allclose(model.forward(pose=FlamePose()), model.template, atol=1e-12)
    padded = np.zeros(100)
    padded[:50] = np.arange(50) / 50
    np.testing.assert_allclose(model.forward(expression=padded[:50]), model.forward(expression=padded), atol=1e-12)


def test_a_root_rotation_turns_the_head_as_one(model: FlameModel) -> None:
    rigid = replace(model, pose_directions=np.zeros_like(model.pose_directions))
    turn = np.array([0.2, -0.4, 0.1])
    joint = rigid.joints(rigid.template)[0]
    expected = (rigid.template - joint) @ rotation_matrix(turn).T + joint
    np.testing.assert_allclose(rigid.forward(pose=FlamePose(root=turn)), expected, atol=1e-12)


@given(arrays(np.float64, 3, elements=st.floats(-7, 7)))
def test_rotations_are_rotations(vector: np.ndarray) -> None:
    matrix = rotation_matrix(vector)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(matrix) == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(matrix @ vector, vector, atol=1e-8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.forward(shape=np.zeros(301)), "at most 300"),
        (lambda m: m.forward(expression=np.full(3, np.nan)), "expression.*finite"),
        (lambda m: m.forward(pose=FlamePose(jaw=np.array([np.inf, 0, 0]))), "3 finite"),
        (lambda m: replace(m, eyelids=None).forward(eyelids=np.ones(2)), "flame import"),
    ],
)
def test_unusable_numbers_are_refused(model: FlameModel, call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(model)


def test_the_unpickler_is_a_fresh_one_every_time() -> None:
    """State that one file leaves on a holder class must not reach the next file."""
    data = io.BytesIO(raw(b"cchumpy.ch\nCh\n")).getvalue()
    with pytest.raises(ModelError, match="type"):
        parse_flame_pickle(data, "x.pkl")
    from emo_face.face.flame import pickle as flame_pickle

    one, two = (flame_pickle._Unpickler(io.BytesIO(data)).load() for _ in range(2))
    assert one is not two
