"""The bounded least squares that turn a face code into ARKit activations, as an ONNX graph with a loop."""

from typing import Any

import numpy as np

from emo_face.face.expressions.basis import Basis

OPSET = 18
CODE, CHANNELS = 107, 52


def arkit_graph(basis: Basis, steps: int) -> Any:
    """Face code (b, 107) -> ARKit (b, 52) in [0, 1] as an ONNX model: accelerated projected gradient in a loop.

    The same least squares with bounds as :meth:`emo_face.face.expressions.basis.Basis.decode`, whose exact solver has
    branches that no graph has. Nesterov's rule for strongly convex functions converges geometrically; in double, as
    the map's condition number is large.
    """
    from onnx import TensorProto, helper

    node = helper.make_node
    graph = helper.make_graph(
        [
            node("Cast", ["code"], ["exact"], to=TensorProto.DOUBLE),
            node("MatMul", ["exact", "gather"], ["wanted"]),
            node("MatMul", ["exact", "no_start"], ["zero"]),
            node("Loop", ["steps", "yes", "zero", "zero"], ["found", "last"], body=_step()),
            node("Cast", ["found"], ["arkit"], to=TensorProto.FLOAT),
        ],
        "arkit",
        [helper.make_tensor_value_info("code", TensorProto.FLOAT, ["batch", CODE])],
        [helper.make_tensor_value_info("arkit", TensorProto.FLOAT, ["batch", CHANNELS])],
        _constants(basis, steps),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)


def _constants(basis: Basis, steps: int) -> list[Any]:
    """The map's matrices, Nesterov's rates from its largest and smallest eigenvalue, bounds and start."""
    from onnx import numpy_helper

    values = np.linalg.eigvalsh(basis._hessian)
    root = float(np.sqrt(values[0] / values[-1]))
    numbers = {
        "hessian": basis._hessian,
        "gather": basis._gather.T,
        "rate": np.array(1.0 / values[-1]),
        "momentum": np.array((1 - root) / (1 + root)),
        "low": np.array(0.0),
        "high": np.array(1.0),
        "no_start": np.zeros((CODE, CHANNELS)),
    }
    tables = [numpy_helper.from_array(np.asarray(value, np.float64), name) for name, value in numbers.items()]
    count, yes = np.array(steps, np.int64), np.array(True)
    return [*tables, numpy_helper.from_array(count, "steps"), numpy_helper.from_array(yes, "yes")]


def _step() -> Any:
    """One step of the loop: down the slope from the point ahead, back into the bounds, ahead by the momentum."""
    from onnx import TensorProto, helper

    node, value = helper.make_node, helper.make_tensor_value_info
    face = (TensorProto.DOUBLE, [None, CHANNELS])
    return helper.make_graph(
        [
            node("MatMul", ["ahead_in", "hessian"], ["pull"]),
            node("Sub", ["pull", "wanted"], ["slope"]),
            node("Mul", ["slope", "rate"], ["step"]),
            node("Sub", ["ahead_in", "step"], ["free"]),
            node("Clip", ["free", "low", "high"], ["now_out"]),
            node("Sub", ["now_out", "now_in"], ["moved"]),
            node("Mul", ["moved", "momentum"], ["more"]),
            node("Add", ["now_out", "more"], ["ahead_out"]),
            node("Identity", ["go_in"], ["go_out"]),
        ],
        "solve",
        [
            value("count", TensorProto.INT64, []),
            value("go_in", TensorProto.BOOL, []),
            value("now_in", *face),
            value("ahead_in", *face),
        ],
        [value("go_out", TensorProto.BOOL, []), value("now_out", *face), value("ahead_out", *face)],
    )
