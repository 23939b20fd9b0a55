"""A float ONNX model as int8: Q/DQ nodes with ranges from the user's own inputs (onnxruntime's static quantisation)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from emo_face.core.errors import UserError
from emo_face.core.install import how_to_install


def quantise(
    source: Path,
    target: Path,
    feeds: Callable[[], Iterator[dict[str, Any]]],
    operators: Sequence[str],
    keep: Callable[[Any], list[str]] = lambda graph: [],
) -> None:
    """Write the int8 form of ``source``: weights int8 a channel, activations uint8 from the ranges seen.

    Args:
        feeds: the inputs to calibrate on. operators: types that become int8.
        keep: names of the nodes of a graph that stay float all the same.

    Raises:
        UserError: the package onnx is not installed.
    """
    try:
        import onnx
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError:
        raise UserError(f"onnx is not installed: {how_to_install('ultralytics')}") from None

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._inputs = feeds()

        def get_next(self) -> dict[str, Any] | None:
            return next(self._inputs, None)

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=list(operators),
            nodes_to_exclude=keep(onnx.load(str(prepared)).graph),
        )
