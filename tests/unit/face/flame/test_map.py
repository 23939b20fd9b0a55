"""FLAME against ICT-FaceKit: registration, the fitted ARKit map, version conversion, parameter files and meshes.

There is no FLAME here. The model below has FLAME's layout on a real face: its vertices lie between those of the ICT
head, which has been scaled, turned, moved and given another identity, so the right answer is known.
"""

from __future__ import annotations

import json
import pickle
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_face.cli.main import main
from emo_face.core.arkit import ARKIT_INDEX
from emo_face.core.errors import ModelError
from emo_face.face.expressions.basis import Basis, find_basis, load_basis
from emo_face.face.expressions.facs import default_facs
from emo_face.face.expressions.ict import IctHead, load_ict
from emo_face.face.flame.codes import FlameCodes, read_codes, write_codes
from emo_face.face.flame.map import FlameMap, conversion, fit_map, load_eyelids, save_map
from emo_face.face.flame.model import FlameModel, FlamePose, load_flame, rotation_matrix
from emo_face.face.flame.register import INNER_LANDMARKS, Landmarks, Registration, read_landmarks, register
from emo_face.face.mesh.mesh_io import write_glb, write_obj
from emo_face.face.mesh.surface import fit_similarity, nearest_on_surface, triangulate

EYE = 100
SCALE, TURN, SHIFT = 0.0105, np.array([0.05, 0.0, 0.0]), np.array([0.0, -0.02, 0.03])
HINGE_CM = np.array([0.0, -0.5, 1.8])
CARRIED = ("jawOpen", "jawLeft", "jawRight", "eyeBlinkLeft", "eyeBlinkRight", "tongueOut")


@dataclass(frozen=True)
class World:
    """The head, the FLAME-like model made from it, and what is true of both."""

    head: IctHead
    landmarks: np.ndarray
    model: FlameModel
    fields: dict[str, Any]
    corners: np.ndarray
    identity: np.ndarray


def smooth_fields(points: np.ndarray, count: int, size: float, rng: np.random.Generator) -> np.ndarray:
    """(n, 3, count) slowly varying offsets of root mean square ``size``."""
    waves = rng.normal(scale=12.0, size=(count, 3, 3))
    phase = rng.uniform(0, 2 * np.pi, size=(count, 3))
    field = np.sin(np.einsum("nd,kcd->nck", points, waves) + phase.T)
    return field * size / np.sqrt((field**2).mean(axis=(0, 1)))


def point_regressor(vertices: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Weights over all vertices that sum to one and give ``point``."""
    chosen = np.argsort(np.linalg.norm(vertices - point, axis=1))[:60]
    row = np.zeros(len(vertices))
    row[chosen] = np.linalg.lstsq(np.vstack([vertices[chosen].T, np.ones(60)]), np.append(point, 1.0), rcond=None)[0]
    return row


@pytest.fixture(scope="module")
def world(assets: Path) -> World:
    rng = np.random.default_rng(11)
    head = load_ict(assets / "head3d")
    landmarks = np.array(json.loads((assets / "head3d" / "vertex_indices.json").read_text())["idx_to_landmark_verts"])
    quads = head.quads[head.quad_material == head.materials.index("M_Face")]
    quads = quads[(head.vertices[quads].mean(axis=1)[:, 1:] > [-8, 5]).all(axis=1)]  # the front, for speed
    used, renamed = np.unique(quads, return_inverse=True)
    faces = triangulate(renamed.reshape(quads.shape)).astype(np.int32)
    partner = np.zeros(len(used), dtype=np.int64)
    partner[renamed.reshape(quads.shape)] = np.arange(len(quads))[:, None]
    eye_quads = [head.quads[head.quad_material == head.materials.index(f"M_Sclera{s}")] for s in ("Left", "Right")]
    eyes = np.concatenate([rng.permutation(q)[:EYE] for q in eye_quads])
    # Each vertex lies between one of the ICT head and the middle of a quad beside it: on the skin, but on no vertex.
    corners = np.concatenate(
        [np.hstack([np.repeat(used[:, None], 4, axis=1), quads[partner]]), np.hstack([eyes, eyes])]
    )
    skin = len(used)
    rotation = rotation_matrix(TURN)

    def place(points: np.ndarray) -> np.ndarray:
        return SCALE * points @ rotation.T + SHIFT

    middle = place(head.vertices[corners].mean(axis=1))
    shapes = smooth_fields(middle, 300, 5e-4, rng)
    shapes[skin:] = 0  # eyeballs stay where they are
    identity = np.zeros(300)
    identity[:12] = rng.normal(size=12)
    template = middle - shapes @ identity
    expressive = [n for n in head.names if not n.startswith(("eyeLook", "eyeBlink", "Pupil")) and n not in CARRIED[:3]]
    deltas = np.stack([SCALE * head.delta(n)[corners].mean(axis=1) @ rotation.T for n in expressive])
    _, s, vt = np.linalg.svd(deltas.reshape(len(deltas), -1), full_matrices=False)
    basis = (vt * s[:, None] / 3).reshape(-1, len(middle), 3)
    rest = smooth_fields(middle, 100 - len(basis), 1e-5, rng)
    rest[skin:] = 0
    directions = np.concatenate([shapes, np.moveaxis(basis, 0, -1), rest], axis=2)
    opened = np.linalg.norm(head.arkit_delta("jawOpen")[corners].mean(axis=1), axis=1)
    reach = np.linalg.norm(head.vertices[corners].mean(axis=1)[:, 1:] - HINGE_CM[1:], axis=1)
    jaw = np.clip(opened / (reach * 2 * np.sin(np.radians(25.3) / 2)), 0, 1)
    weights = np.zeros((len(middle), 5))
    weights[:skin, 2], weights[:skin, 1] = jaw[:skin], 1 - jaw[:skin]
    weights[skin : skin + EYE, 3] = weights[skin + EYE :, 4] = 1
    regressor = np.zeros((5, len(middle)))
    regressor[0] = regressor[1] = point_regressor(template, np.array([0.0, -0.15, 0.0]))
    regressor[2] = point_regressor(template, place(HINGE_CM[None])[0])
    for row, side in ((3, "Left"), (4, "Right")):
        regressor[row] = point_regressor(
            template, place(head.vertices[head.material_vertices(f"M_Sclera{side}")].mean(0)[None])[0]
        )
    fields = {
        "v_template": template,
        "shapedirs": directions,
        "posedirs": np.zeros((len(middle), 3, 36)),
        "f": faces,
        "weights": weights,
        "J_regressor": regressor,
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], range(5)], dtype=np.uint32),
    }
    model = FlameModel(
        "flame2023_open", template, faces, directions, fields["posedirs"], regressor, weights, (-1, 0, 1, 1, 1)
    )
    return World(head, landmarks, model, fields, corners, identity)


@pytest.fixture(scope="module")
def registration(world: World) -> Registration:
    return register(world.model, world.head, world.landmarks)


@pytest.fixture(scope="module")
def fitted(world: World, registration: Registration) -> FlameMap:
    return fit_map(world.model, world.head, registration)


@pytest.fixture(scope="module")
def basis(fitted: FlameMap, tmp_path_factory: pytest.TempPathFactory) -> Basis:
    path = tmp_path_factory.mktemp("map") / "flame2023_arkit.npz"
    save_map(path, fitted)
    return load_basis(path)


# --- registration ---------------------------------------------------------------------------------------------------


def test_registration_finds_the_heads_place_and_identity(world: World, registration: Registration) -> None:
    assert len(registration.matched) > 0.9 * (len(world.model.template) - 2 * EYE)
    assert np.sqrt((registration.distance**2).mean()) < 5e-4
    truth = SCALE * world.head.vertices @ rotation_matrix(TURN).T + SHIFT
    placed = registration.similarity.points(world.head.vertices)
    skin = world.head.material_vertices("M_Face")
    assert np.linalg.norm(placed - truth, axis=1)[skin].mean() < 2e-3
    assert registration.similarity.scale == pytest.approx(SCALE, rel=0.02)


def test_carried_offsets_are_those_of_the_same_place(world: World, registration: Registration) -> None:
    for name in ("mouthSmileLeft", "browInnerUp", "noseSneerRight", "mouthLowerDownLeft"):
        truth = (
            SCALE
            * world.head.arkit_delta(name)[world.corners[registration.matched]].mean(axis=1)
            @ rotation_matrix(TURN).T
        )
        carried = registration.carry(world.head.arkit_delta(name))
        assert np.linalg.norm(carried - truth) < 0.15 * np.linalg.norm(truth), name


def embedding(world: World) -> Landmarks:
    """The landmarks of the ICT head on the nearest triangles of the model, as an annotator would have put them."""
    placed = SCALE * world.head.vertices[world.landmarks] @ rotation_matrix(TURN).T + SHIFT
    near = nearest_on_surface(placed, world.model.shaped(world.identity), world.model.faces)
    return Landmarks(near.triangle[INNER_LANDMARKS], near.barycentric[INNER_LANDMARKS])


def test_landmarks_rescue_a_start_that_the_eyes_cannot(world: World) -> None:
    tilted = replace(world.model, regressor=world.model.regressor[[0, 1, 2, 1, 0]])  # no eyes to start from
    with pytest.raises((ModelError, ValueError, FloatingPointError)), np.errstate(divide="raise", invalid="raise"):
        register(tilted, world.head, world.landmarks)
    found = register(tilted, world.head, world.landmarks, embedding(world))
    assert np.sqrt((found.distance**2).mean()) < 5e-4


def test_landmark_files_of_both_formats_are_read(world: World, tmp_path: Path) -> None:
    marks = embedding(world)
    all68 = {
        "full_lmk_faces_idx": np.concatenate([np.zeros(17, int), marks.triangle])[None],
        "full_lmk_bary_coords": np.concatenate([np.zeros((17, 3)), marks.barycentric])[None],
    }
    np.save(tmp_path / "landmark_embedding.npy", all68, allow_pickle=True)  # type: ignore[arg-type]
    static = {"lmk_face_idx": marks.triangle.astype(np.uint32), "lmk_b_coords": marks.barycentric}
    (tmp_path / "flame_static_embedding.pkl").write_bytes(pickle.dumps(static, protocol=2))
    for name in ("landmark_embedding.npy", "flame_static_embedding.pkl"):
        read = read_landmarks(tmp_path / name)
        np.testing.assert_array_equal(read.triangle, marks.triangle)
        np.testing.assert_allclose(read.barycentric, marks.barycentric)
    np.save(tmp_path / "other.npy", np.zeros(3))
    with pytest.raises(ModelError, match=r"other\.npy"):
        read_landmarks(tmp_path / "other.npy")


def test_similarity_and_nearest_points_are_exact() -> None:
    rng = np.random.default_rng(5)
    points = rng.normal(size=(30, 3))
    rotation = rotation_matrix(np.array([0.3, -1.0, 0.2]))
    found = fit_similarity(points, 2.5 * points @ rotation.T + [1, 2, 3])
    assert found.scale == pytest.approx(2.5)
    np.testing.assert_allclose(found.rotation, rotation, atol=1e-12)
    square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    near = nearest_on_surface(
        np.array([[0.2, 0.3, 5.0], [2.0, 0.5, 0.0], [-1, -1, 0]]), square, triangulate(np.array([[0, 1, 2, 3]]))
    )
    np.testing.assert_allclose(near.point, [[0.2, 0.3, 0], [1, 0.5, 0], [0, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(near.distance, [5, 1, np.sqrt(2)])


# --- the map --------------------------------------------------------------------------------------------------------


def test_the_map_makes_the_shapes(fitted: FlameMap) -> None:
    assert fitted.explained() > 0.97
    for name in (
        "mouthSmileLeft",
        "browInnerUp",
        "browDownRight",
        "noseSneerLeft",
        "mouthPucker",
        "cheekPuff",
        "jawOpen",
    ):
        error, size = fitted.errors[name]
        assert error < 0.25 * size, f"{name}: {error:.2f} of {size:.2f} mm"


def test_an_open_mouth_is_a_jaw_rotation(basis: Basis) -> None:
    jaw = np.degrees(basis.matrix[100:103, ARKIT_INDEX["jawOpen"]])
    assert jaw[0] == pytest.approx(25, abs=4)
    assert np.abs(jaw[1:]).max() < 2
    left, right = (basis.matrix[101, ARKIT_INDEX[n]] for n in ("jawLeft", "jawRight"))
    assert left > 0.02
    assert right < -0.02
    smile = np.degrees(basis.matrix[100:103, ARKIT_INDEX["mouthSmileLeft"]])
    assert not smile.any()


def test_arkit_survives_the_way_through_flame(basis: Basis) -> None:
    """What no pseudo-inverse of a published matrix manages: every expression comes back, and stays in bounds."""
    assert basis.name == "flame2023"
    for name, face in zip(default_facs().expressions, default_facs().prototypes, strict=True):
        back = basis.decode(basis.encode(face))
        assert np.abs(back - face).max() < 0.1, f"{name}: {np.abs(back - face).max():.3f}"
    assert not basis.decode(basis.encode(np.zeros(52))).any()


def test_the_mesh_of_the_code_is_the_mesh_of_the_face(
    world: World, registration: Registration, fitted: FlameMap, basis: Basis
) -> None:
    eyelids = np.asarray(fitted.arrays["eyelid_shapes"], dtype=np.float64)
    model = replace(world.model, eyelids=eyelids)
    for name in ("Happy", "Surprise", "Fatigue"):
        face = default_facs().arkit({name: 1.0})
        code = basis.encode(face)
        lids = np.clip(code.eyelids, 0, 1)
        posed = model.forward(registration.shape, code.coefficients, FlamePose(jaw=code.jaw_pose), lids)
        moved = (posed - model.forward(registration.shape))[registration.matched]
        wanted = registration.carry(world.head.posed(face) - world.head.vertices)
        assert np.linalg.norm(moved - wanted) < 0.3 * np.linalg.norm(wanted), name


def test_conversion_between_versions(world: World) -> None:
    rng = np.random.default_rng(2)
    same, kept = conversion(world.model, world.model, ridge_mm=1e-6)
    np.testing.assert_allclose(same[:40, :40], np.eye(40), atol=1e-3)
    assert kept > 0.999
    mix = np.linalg.qr(rng.normal(size=(100, 100)))[0]
    directions = world.model.directions.copy()
    directions[:, :, 300:] = directions[:, :, 300:] @ mix
    other = replace(world.model, version="flame2020", directions=directions, template=world.model.template * 1.02)
    matrix, kept = conversion(world.model, other)
    code = np.zeros(100)
    code[:20] = rng.normal(size=20)
    moved = other.expression_directions @ (matrix @ code) - world.model.expression_directions @ code
    assert np.linalg.norm(moved) < 0.02 * np.linalg.norm(world.model.expression_directions @ code)
    assert kept > 0.99
    with pytest.raises(ModelError, match="different triangles"):
        conversion(world.model, replace(other, faces=other.faces[1:]))


# --- parameter files ------------------------------------------------------------------------------------------------


def test_the_outputs_of_other_tools_are_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    shape, expression, pose = rng.normal(size=(1, 100)), rng.normal(size=(1, 50)), rng.normal(size=(1, 6))
    emoca = tmp_path / "emoca"
    emoca.mkdir()
    for name, value in (("shape", shape), ("exp", expression), ("pose", pose)):
        np.save(emoca / f"{name}.npy", value)
    codes = read_codes(emoca)
    np.testing.assert_allclose(codes.shape[:100], shape[0])
    np.testing.assert_allclose(codes.jaw, pose[0, 3:])
    np.testing.assert_allclose(codes.root, pose[0, :3])
    assert (codes.shape.shape, codes.expression.shape, codes.version) == ((300,), (100,), "flame2020")
    lids, jaw = np.array([[0.2, 0.4]]), np.full((1, 3), 0.1)
    fields = {"shape_params": np.ones((1, 300)), "expression_params": expression, "pose_params": np.zeros((1, 3))}
    np.savez(tmp_path / "smirk.npz", **fields, eyelid_params=lids, jaw_params=jaw)
    smirk = read_codes(tmp_path / "smirk.npz", "flame2020")
    np.testing.assert_allclose(smirk.eyelids, [0.2, 0.4])
    np.testing.assert_allclose(smirk.jaw, 0.1)


def test_codes_survive_a_round_trip_and_name_their_version(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    codes = FlameCodes(
        "flame2023",
        rng.normal(size=300),
        rng.normal(size=100),
        rng.normal(size=3),
        rng.normal(size=3),
        rng.uniform(size=2),
    )
    path = tmp_path / "codes.json"
    write_codes(path, codes)
    back = read_codes(path, "flame2023")
    for name in ("shape", "expression", "root", "jaw", "eyelids"):
        np.testing.assert_array_equal(getattr(back, name), getattr(codes, name))
    with pytest.raises(ModelError, match=r"codes\.json: made for flame2023, expected flame2020.*convert"):
        read_codes(path, "flame2020")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"expression": [1.0] * 101}, "expression: 101 numbers, expected at most 100"),
        ({"exp": [[1.0, 2.0], [3.0, 4.0]]}, r"exp: .*one face.*\(2, 2\)"),
        ({"jaw": [0.1]}, "jaw: 1 numbers, expected 3"),
        ({"exp": ["a"]}, "exp: expected numbers"),
        ({"exp": [float("nan")]}, "exp: .*finite"),
        ({"smile": [1]}, "none of the fields"),
        ([1, 2], "expected an object"),
    ],
)
def test_wrong_parameter_files_are_named(tmp_path: Path, body: Any, message: str) -> None:
    path = tmp_path / "codes.json"
    path.write_text(json.dumps(body))
    with pytest.raises(ModelError, match=message):
        read_codes(path)


def test_pickles_are_not_parameter_files(tmp_path: Path) -> None:
    (tmp_path / "codes.pkl").write_bytes(pickle.dumps({}))
    with pytest.raises(ModelError, match="save pickles as"):
        read_codes(tmp_path / "codes.pkl")


# --- meshes ---------------------------------------------------------------------------------------------------------


def test_written_meshes_read_back(tmp_path: Path) -> None:
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    write_obj(tmp_path / "m.obj", vertices, faces)
    lines = (tmp_path / "m.obj").read_text().splitlines()
    assert lines[1] == "v 1 0 0"
    assert lines[4:] == ["f 1 2 3", "f 1 3 4"]
    write_glb(tmp_path / "m.glb", vertices, faces)
    data = (tmp_path / "m.glb").read_bytes()
    magic, version, length = struct.unpack("<4sII", data[:12])
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, kind = struct.unpack("<I4s", data[12:20])
    document = json.loads(data[20 : 20 + size])
    assert (kind, size % 4) == (b"JSON", 0)
    body = data[20 + size + 8 :]
    for accessor, expected, dtype in ((0, vertices, "<f4"), (2, faces, "<u4")):
        view = document["bufferViews"][document["accessors"][accessor]["bufferView"]]
        block = body[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        np.testing.assert_array_equal(np.frombuffer(block, dtype).reshape(expected.shape), expected)


# --- the command ----------------------------------------------------------------------------------------------------


def test_import_render_and_convert_from_the_command_line(
    world: World, assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import cv2

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    small = dict(world.fields, shapedirs=world.fields["shapedirs"].astype(np.float32))
    flame = tmp_path / "flame2023_Open.pkl"
    flame.write_bytes(pickle.dumps(small))
    assert main(["flame", "import", str(flame), "--head3d", str(assets / "head3d"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["explained"] > 0.97
    assert report["basis"] == "flame2023"
    made = Path(report["file"])
    assert made.is_relative_to(tmp_path / "cache")
    assert load_basis(made).name == "flame2023"
    find_basis.cache_clear()
    assert find_basis("flame2023").name == "flame2023"  # as the driver asks for what a message names
    with pytest.raises(ModelError, match=r"flame2020.*emo-face flame import"):
        find_basis("flame2020")
    find_basis.cache_clear()
    assert load_eyelids(made, len(world.model.template)).any()

    pictures = {}
    for name in ("Neutral", "Happy", "Surprise"):
        out = tmp_path / f"{name}.png"
        assert main(["flame", "render", str(flame), "--expression", name, "--out", str(out)]) == 0
        pictures[name] = cv2.imread(str(out)).astype(int)
    for name in ("Happy", "Surprise"):
        assert np.abs(pictures[name] - pictures["Neutral"]).mean() > 0.5
    assert main(["flame", "render", str(flame), "--arkit", "jawOpen=0.6", "--out", str(tmp_path / "m.glb")]) == 0
    assert (tmp_path / "m.glb").read_bytes()[:4] == b"glTF"

    older = dict(small, shapedirs=small["shapedirs"] * np.where(np.arange(400) < 300, 1.0, 2.0))
    source = tmp_path / "older.pkl"
    source.write_bytes(pickle.dumps(older))
    codes = replace(FlameCodes("flame2023_open"), expression=np.eye(100)[0])
    write_codes(tmp_path / "in.json", codes)
    out = tmp_path / "out.json"
    files = ["--source", str(source), "--source-version", "flame2023_open", "--target", str(flame)]
    assert main(["flame", "convert", str(tmp_path / "in.json"), *files, "--out", str(out)]) == 0
    assert read_codes(out, "flame2023_open").expression[0] == pytest.approx(2.0, abs=0.02)
    assert load_flame(flame).version == "flame2023_open"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["flame", "render", "no.pkl", "--expression", "Happy", "--out", "x.png"], r"no\.pkl"),
        (["flame", "render", "flame2023.pkl", "--expression", "Happy", "--out", "x.png"], r"flame2023\.pkl not found"),
        (["flame", "import", "flame2023.pkl", "--head3d", "nowhere"], "not found"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
