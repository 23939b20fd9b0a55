"""A float ONNX model in 8 bits: Q/DQ nodes with ranges from the user's inputs (onnxruntime's static quantisation)."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.install import how_to_install
from emo_face.core.types import FloatArray
from emo_face.runtime.engines.onnx_bytes import ONE_FILE

CLEAR = 0.1  # a winner this far ahead of the next must stay the winner; nearer ones may change
MIN_SAME = 0.97  # share of the clear people kept aside whose emotion stays
MAX_DISTANCE = 0.03  # mean difference of the probabilities, in [0, 1]


@dataclass(frozen=True)
class Form:
    """How numbers become 8 bits: names of onnxruntime's types and its options."""

    activations: str
    weights: str
    options: Mapping[str, Any] = field(default_factory=dict)


# TensorRT takes symmetric ranges only, and scales on both operands of a product (its developer guide, "Explicit
# Quantization"); the options are those of onnxruntime's own example of BERT for TensorRT.
_SYMMETRIC = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "AddQDQPairToWeight": True,
    "DedicatedQDQPair": True,
    "OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm", "Conv"],
}
CPU = Form("QUInt8", "QInt8")
GPU = Form("QInt8", "QInt8", _SYMMETRIC)
FP8 = Form("QFLOAT8E4M3FN", "QFLOAT8E4M3FN", _SYMMETRIC)


def quantise(
    source: Path,
    target: Path,
    feeds: Callable[[], Iterator[dict[str, Any]]],
    operators: Sequence[str],
    keep: Callable[[Any], list[str]] = lambda graph: [],
    form: Form = CPU,
) -> None:
    """Write ``source`` in 8 bits: one scale per channel of the weights, one per activation from the ranges seen.

    Args:
        feeds: the inputs to calibrate on. operators: types that become 8 bits.
        keep: names of the nodes of a graph that stay float all the same. form: for which machine.

    Raises:
        UserError: the package onnx is not installed.
    """
    try:
        import onnx
        from onnxruntime.quantization import (
            CalibrationDataReader,
            CalibrationMethod,
            QuantFormat,
            QuantType,
            quantize_static,
        )
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError:
        raise UserError(f"onnx is not installed: {how_to_install('ultralytics')}") from None

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._inputs = feeds()

        def get_next(self) -> dict[str, Any] | None:
            return next(self._inputs, None)

    large = sum(file.stat().st_size for file in source.parent.glob(source.name + "*")) > ONE_FILE
    fp8 = form is FP8  # its scales come from the distribution, the only method that onnxruntime has for it
    with tempfile.TemporaryDirectory() as folder:
        whole, prepared = Path(folder) / "whole.onnx", Path(folder) / "prepared.onnx"
        onnx.save(onnx.load(str(source)), str(whole), save_as_external_data=large)
        beside = {"save_as_external_data": True, "skip_optimization": True} if large else {}
        quant_pre_process(str(whole), str(prepared), skip_symbolic_shape=True, **beside)
        quantize_static(
            str(prepared),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=not fp8,  # onnxruntime has one float8 scale per tensor
            activation_type=QuantType[form.activations],
            weight_type=QuantType[form.weights],
            op_types_to_quantize=list(operators),
            nodes_to_exclude=keep(onnx.load(str(prepared), load_external_data=False).graph),
            use_external_data_format=large,
            calibrate_method=CalibrationMethod.Distribution if fp8 else CalibrationMethod.MinMax,
            extra_options=dict(form.options),
        )


def agreement(before: FloatArray, after: FloatArray) -> tuple[float, float]:
    """Share of the clear rows whose winner stays, and the mean difference of the probabilities of all.

    ``before``, ``after``: (n, classes). The difference is half of the sum over the classes (total variation). The share
    is 0 if no row is clear: then nothing was shown.
    """
    ranked = np.sort(before, axis=1)
    clear = ranked[:, -1] - ranked[:, -2] >= CLEAR
    same = before.argmax(1) == after.argmax(1)
    share = float(same[clear].mean()) if clear.any() else 0.0
    return share, float(np.abs(before - after).sum(1).mean() / 2)


def judge(name: str, before: FloatArray, after: FloatArray, text: str = "int8") -> None:
    """Print how far both are apart. Raises UserError if ``after`` reads other emotions."""
    same, distance = agreement(before, after)
    print(f"same emotion of {same:.0%} of the clear faces, mean difference {distance:.3f}, {len(before)} faces")
    if same < MIN_SAME or distance > MAX_DISTANCE:
        raise UserError(
            f"{text} reads other emotions than {name} (at least {MIN_SAME:.0%} the same, at most {MAX_DISTANCE} "
            "different): not kept; give more pictures of your camera"
        )
