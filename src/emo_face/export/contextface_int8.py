"""ContextFace's prefill with its matrices in 8 bits, kept only if the answers stay.

Weights of 32 numbers share a scale (onnxruntime's MatMulNBits). One scale per channel, the plain way, changed 38 % of
the answers of a model of 135 million numbers (its 1536 x 576 projections have a few that are very large).
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.install import how_to_install
from emo_face.expression.contextface.answer import answer_of
from emo_face.expression.contextface.conditions import CONDITIONS
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.exported.engine import prompt_feed
from emo_face.runtime.engines.onnx_bytes import ONE_FILE
from emo_face.runtime.engines.ort import OrtEngine

BLOCK = 32
MAX_CHANGED = 0.05
"""Share of answers whose emotion may change."""
FEWEST = 100
"""Questions from which that share says something."""


def shrink(path: Path, prompts: Sequence[Sequence[int]], config: ContextFaceConfig) -> float:
    """Replace the graph ``path`` by one in 8 bits; the share of ``prompts`` that it answers otherwise.

    Raises:
        UserError: too few prompts, onnx is missing, or more than :data:`MAX_CHANGED` change; the graph stays as it was.
    """
    if len(prompts) < FEWEST:
        raise UserError(
            f"--bits 8: {len(prompts)} quotes to compare answers by, at least {FEWEST} are needed (--records)"
        )
    try:
        import onnx
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    except ImportError as error:
        raise UserError(f"{error.name} is not installed: {how_to_install('train')}") from None
    before = _answers(path, prompts, config)
    quantizer = MatMulNBitsQuantizer(onnx.load(path), bits=8, block_size=BLOCK, is_symmetric=True, accuracy_level=4)
    quantizer.process()
    quantizer.model.topological_sort()
    graph = quantizer.model.model
    large = sum(len(weight.raw_data) for weight in graph.graph.initializer) > ONE_FILE
    with tempfile.TemporaryDirectory(dir=path.parent) as made:
        small = Path(made, path.name)
        onnx.save(graph, str(small), save_as_external_data=large, location=f"{path.name}.data")
        changed = float((_answers(small, prompts, config) != before).mean())
        if changed > MAX_CHANGED:
            raise UserError(
                f"{path}: in 8 bits {changed:.1%} of {len(prompts)} answers change, at most {MAX_CHANGED:.0%} may; it "
                "stays in 32 bits"
            )
        path.with_name(f"{path.name}.data").unlink(missing_ok=True)  # a large graph had its weights there
        for file in Path(made).iterdir():
            file.replace(path.with_name(file.name))
    return changed


def _answers(path: Path, prompts: Sequence[Sequence[int]], config: ContextFaceConfig) -> Any:
    """(n,) most likely word of each prompt by a graph."""
    engine, found = OrtEngine(path), []
    for prompt in prompts:
        log_probs, faces = engine.run(prompt_feed(prompt, len(prompt)))
        given = (np.asarray(log_probs, np.float64), np.asarray(faces, np.float64))
        found.append(answer_of(config, CONDITIONS["quote"], *given, tokens=len(prompt)).word)
    return np.array(found)
