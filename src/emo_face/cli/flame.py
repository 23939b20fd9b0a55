"""Use your own FLAME file: fit the ARKit map, draw expressions, convert between versions.

  emo-face flame import flame2023.pkl --head3d ICT/      fit the map ARKit <-> FLAME into the user cache
  emo-face flame import generic_model.pkl --head3d ICT/ --landmarks landmark_embedding.npy
  emo-face flame render flame2023.pkl --expression Happy --out happy.png
  emo-face flame render flame2023.pkl --arkit jawOpen=0.6,mouthSmileLeft=0.8 --out head.glb
  emo-face flame render generic_model.pkl --codes smirk.npz --identity emoca_folder/ --out head.obj
  emo-face flame convert codes.json --source generic_model.pkl --target flame2023.pkl --out new.json

FLAME is not part of this package: register at https://flame.is.tue.mpg.de and pass the file you downloaded (FLAME
2023 Open is CC-BY-4.0, the others are non-commercial). Files are opened without running anything in them. ICT/ is a
folder with the expression shapes of ICT-FaceKit light (MIT): ict_facekit_light_expressions.npz, vertex_indices.json.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from emo_face.cli._drawing import write_picture
from emo_face.cli._verb import actions
from emo_face.core.arguments import one_of, option
from emo_face.core.arkit import ARKIT_INDEX
from emo_face.core.errors import ConfigError, ModelError
from emo_face.core.types import FloatArray
from emo_face.face.expressions.basis import load_basis
from emo_face.face.expressions.facs import default_facs
from emo_face.face.expressions.ict import load_ict
from emo_face.face.flame.codes import FlameCodes, read_codes, write_codes
from emo_face.face.flame.map import FlameMap, conversion, fit_map, load_eyelids, save_map
from emo_face.face.flame.model import FlameModel, FlamePose, load_flame
from emo_face.face.flame.register import ROUNDS, read_landmarks, register
from emo_face.face.mesh.mesh_io import write_glb, write_obj
from emo_face.runtime import store
from emo_face.runtime.progress import bar

IMPORT = (
    option("flame", type=Path, help="FLAME .pkl or .npz"),
    option("--version", help="flame2020, flame2023 or flame2023_open; by the file name if omitted"),
    option("--head3d", type=Path, required=True, help="folder with the ICT-FaceKit expression shapes"),
    option("--landmarks", type=Path, help="landmark_embedding.npy or flame_static_embedding.pkl"),
    option("--out", type=Path, help="map to write; default: the user cache, where the nodes find it"),
    option("--json", action="store_true", help="print JSON on stdout and nothing else"),
)
RENDER = (
    option("flame", type=Path),
    option("--version"),
    one_of(
        option("--expression", help="an expression of facs.yaml, for example Happy"),
        option("--arkit", help="activations, for example jawOpen=0.6,mouthSmileLeft=0.8"),
        option("--codes", type=Path, help="FLAME parameters: .json, .npz, or a folder of .npy"),
    ),
    option("--identity", type=Path, help="whose head: FLAME shape parameters of a reference photo"),
    option("--map", type=Path, help="map that import wrote; default: the user cache"),
    option("--size", type=int, default=640, help="size of a PNG in pixels"),
    option("--out", type=Path, required=True),
)
CONVERT = (
    option("codes", type=Path),
    option("--source", type=Path, required=True, help="FLAME file the parameters are made for"),
    option("--target", type=Path, required=True, help="FLAME file to convert them to"),
    option("--source-version"),
    option("--target-version"),
    option("--out", type=Path, required=True),
)


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    return int(args.act(args))


def default_map(version: str) -> Path:
    """Where ``import`` puts the map of a version and the nodes look for it."""
    return store.user_cache() / f"{version}_arkit.npz"


def _import(args: argparse.Namespace) -> int:
    head = load_ict(args.head3d)
    indices = args.head3d / "vertex_indices.json"
    try:
        marks = np.array(json.loads(indices.read_text(encoding="utf-8"))["idx_to_landmark_verts"], dtype=np.int64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{indices} has no idx_to_landmark_verts ({error}); take it from ICT-FaceKit") from None
    flame = load_flame(args.flame, args.version)
    landmarks = read_landmarks(args.landmarks) if args.landmarks else None
    out = args.out or default_map(flame.version)
    with bar("registering", ROUNDS, show=not args.json) as tick:
        found = register(flame, head, marks, landmarks, tick)
    with bar("fitting shapes", 52, show=not args.json) as tick:
        result = fit_map(flame, head, found, tick)
    save_map(out, result)
    if args.out is None:
        _register(out, str(result.arrays["basis"]))
    _report(result, out, len(found.matched), float(np.sqrt((found.distance**2).mean()) * 1000), args.json)
    return 0


def _register(path: Path, basis: str) -> None:
    """Tell the model store about the map, so that nodes find it by the name of its basis."""
    purpose = f"ARKit-52 to {basis} coefficients, jaw, eyelids and gaze, and back"
    how, licence = "make it again by `emo-face flame import`", "that of the FLAME file it was fitted to"
    store.register(store.entry_of(path, f"{basis}-arkit", licence=licence, purpose=purpose, how=how))


def _report(result: FlameMap, out: Path, matched: int, distance: float, as_json: bool) -> None:
    worst = sorted(result.errors.items(), key=lambda item: item[1][0] / max(item[1][1], 1e-9), reverse=True)[:5]
    if as_json:
        body = {
            "file": str(out),
            "basis": str(result.arrays["basis"]),
            "flame_version": str(result.arrays["flame_version"]),
            "explained": result.explained(),
            "matched_vertices": matched,
            "registration_rms_mm": distance,
            "errors_mm": {name: {"error": error, "shape": size} for name, (error, size) in result.errors.items()},
        }
        print(json.dumps(body, indent=2))
        return
    print(f"registered {matched} vertices to {distance:.2f} mm; FLAME makes {result.explained():.1%} of the movement")
    for name, (error, size) in worst:
        print(f"  {name}: {error:.2f} mm of {size:.2f} mm left")
    print(f"wrote {out}")


def _render(args: argparse.Namespace) -> int:
    if args.out.suffix not in (".png", ".glb", ".obj"):
        raise ConfigError(f"--out {args.out}: expected a name that ends in .png, .glb or .obj")
    flame = load_flame(args.flame, args.version)
    codes = read_codes(args.codes, flame.version) if args.codes else _codes_of_arkit(args, flame)
    if codes.eyelids.any():
        flame = replace(flame, eyelids=load_eyelids(args.map or default_map(flame.version), len(flame.template)))
    shape = read_codes(args.identity, flame.version).shape if args.identity else codes.shape
    vertices = flame.forward(shape, codes.expression, FlamePose(root=codes.root, jaw=codes.jaw), codes.eyelids)
    _write(args.out, vertices, flame, flame.forward(shape), args.size)
    print(f"wrote {args.out}")
    return 0


def _codes_of_arkit(args: argparse.Namespace, flame: FlameModel) -> FlameCodes:
    """FLAME parameters of ``--expression`` or ``--arkit``, by the map that import wrote."""
    if args.expression:
        arkit = default_facs().arkit({args.expression: 1.0})
    else:
        arkit = np.zeros(52)
        for part in args.arkit.split(","):
            name, _, value = part.partition("=")
            try:
                arkit[ARKIT_INDEX[name.strip()]] = float(value)
            except (KeyError, ValueError):
                raise ConfigError(f"--arkit {part!r}: expected an ARKit name and a number, as jawOpen=0.6") from None
    code = load_basis(args.map or default_map(flame.version)).encode(arkit)
    return FlameCodes(
        flame.version, expression=code.coefficients, jaw=code.jaw_pose, eyelids=np.clip(code.eyelids, 0, 1)
    )


def _write(out: Path, vertices: FloatArray, flame: FlameModel, frame: FloatArray, size: int) -> None:
    if out.suffix == ".glb":
        write_glb(out, vertices, flame.faces)
    elif out.suffix == ".obj":
        write_obj(out, vertices, flame.faces)
    else:
        from emo_face.face.mesh.render import render_mesh

        write_picture(out, render_mesh(vertices, flame.faces, (size, size), frame=frame))


def _convert(args: argparse.Namespace) -> int:
    source, target = load_flame(args.source, args.source_version), load_flame(args.target, args.target_version)
    codes = read_codes(args.codes, source.version)
    matrix, kept = conversion(source, target)
    write_codes(args.out, replace(codes, version=target.version, expression=matrix @ codes.expression))
    print(f"wrote {args.out}: {kept:.1%} of the movement of {source.version} exists in {target.version}")
    return 0


add_arguments = actions(
    {
        "import": (_import, "fit the ARKit map of your FLAME file", IMPORT),
        "render": (_render, "draw a head: PNG, GLB or OBJ by the ending of --out", RENDER),
        "convert": (_convert, "express parameters of one FLAME version in another", CONVERT),
    }
)
