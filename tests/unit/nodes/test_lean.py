"""What a node's process loads: a library that it does not need costs every robot memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("rclpy")
HEAVY = {"cv2", "scipy", "torch", "onnxruntime", "rich", "PIL", "pandas", "sklearn", "aiohttp"}


@pytest.mark.parametrize(
    ("node", "needs"),
    [("camera", {"cv2"}), ("perception", {"cv2"}), ("expression", set()), ("face_driver", {"aiohttp"})],
)
def test_a_node_imports_only_what_it_uses(node: str, needs: set[str]) -> None:
    code = f"import sys, emo_face.nodes.{node}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert HEAVY & set(loaded) == needs
