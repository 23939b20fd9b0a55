"""Make a head for the 3D view: a GLB with the 52 ARKit shapes as morph targets.

    emo-face head3d --ict ICT/ --out head.glb                  from ICT-FaceKit light (MIT)
    emo-face head3d --flame flame2023.pkl --out head.glb       from your FLAME file, after `emo-face flame import`

Show it: build the 3D view once (python export/build_head3d.py), set the driver's parameter screen.model to the file
and open /3d. Any other GLB whose morph targets have ARKit names works too. The licence of the head stays its own.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from emo_face.cli.flame import default_map
from emo_face.core.arguments import arguments, one_of, option
from emo_face.core.arkit import ARKIT_52
from emo_face.core.errors import UserError
from emo_face.face.expressions.basis import load_basis
from emo_face.face.expressions.ict import load_ict
from emo_face.face.flame.head3d import parts_from_flame, parts_from_ict
from emo_face.face.flame.map import load_eyelids
from emo_face.face.flame.model import load_flame
from emo_face.face.mesh.glb import HeadPart, write_head

add_arguments = arguments(
    one_of(
        option("--ict", type=Path, help="folder with ict_facekit_light_expressions.npz"),
        option("--flame", type=Path, help="FLAME .pkl or .npz"),
    ),
    option("--map", type=Path, help="map that `emo-face flame import` wrote; default: the user cache"),
    option("--out", type=Path, required=True, help="GLB to write"),
)


def run(args: argparse.Namespace) -> int:
    """Read the head, write the GLB."""
    if args.out.suffix.lower() != ".glb":
        raise UserError(f"--out {args.out}: expected a name that ends in .glb")
    parts = parts_from_ict(load_ict(args.ict)) if args.ict else _flame_parts(args.flame, args.map)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_head(args.out, parts, ARKIT_52)
    still = [n for k, n in enumerate(ARKIT_52) if not any(abs(p.offsets[k]).max() > 1e-4 for p in parts)]
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB, {sum(len(p.vertices) for p in parts)} vertices")
    if still:
        print(f"this head does not show {', '.join(still)}")
    return 0


def _flame_parts(flame_file: Path, map_file: Path | None) -> list[HeadPart]:
    flame = load_flame(flame_file)
    path = map_file or default_map(flame.version)
    return parts_from_flame(replace(flame, eyelids=load_eyelids(path, len(flame.template))), load_basis(path))
