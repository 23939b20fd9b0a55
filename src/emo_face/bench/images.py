"""Conversion of camera messages to BGR: milliseconds per picture of every encoding, and of JPEG and PNG.

640 x 480 by default, one core, random pixels; the median and the 95th percentile of the runs.
"""

import argparse
from functools import partial
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from emo_face.bench.probes.machine import machine, milliseconds
from emo_face.core.arguments import arguments, option

add_arguments = arguments(
    option("--width", type=int, default=640, help="width in pixels, even (default 640)"),
    option("--height", type=int, default=480, help="height in pixels, even (default 480)"),
    option("--runs", type=int, default=50, help="pictures of each encoding (default 50)"),
)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Time every conversion; see the module's docstring for the keys."""
    from emo_face.ros.images.compressed import decode_compressed
    from emo_face.ros.images.convert import ENCODINGS, bytes_of, to_bgr

    rng = np.random.default_rng(0)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        rows = {}
        for encoding in ENCODINGS:
            step, size = bytes_of(encoding, args.height, args.width)
            msg = SimpleNamespace(
                height=args.height,
                width=args.width,
                encoding=encoding,
                step=step,
                is_bigendian=0,
                data=rng.integers(0, 256, size, dtype=np.uint8).tobytes(),
            )
            rows[encoding] = milliseconds(partial(to_bgr, msg), args.runs)
        small = rng.integers(0, 256, (args.height // 16, args.width // 16, 3), dtype=np.uint8)
        picture = cv2.resize(small, (args.width, args.height), interpolation=cv2.INTER_CUBIC)
        for extension in (".jpg", ".png"):
            message = SimpleNamespace(data=cv2.imencode(extension, picture)[1].tobytes(), format=extension)
            rows[f"compressed {extension}"] = milliseconds(partial(decode_compressed, message), args.runs)
    finally:
        cv2.setNumThreads(threads)
    return {"size": f"{args.width}x{args.height}", "encodings": rows, "machine": machine()}
