"""A torch module as an engine, for models whose weights are not exported."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from emo_face.core.errors import ModelError
from emo_face.runtime.engines.base import Array, OutOfMemory, TensorSpec
from emo_face.runtime.engines.place import place


class TorchEngine:
    """Fills :class:`emo_face.runtime.engines.base.Engine`.

    ``module.forward`` takes one tensor per input, in order, and returns a tuple with one per output.
    """

    metadata: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self, module: Any, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], path: Path, device: str = "cpu"
    ) -> None:
        """Put ``module`` on ``device``. Raises ModelError if it cannot go there; ``path`` is where it came from."""
        self._module = place(module, device, path.name)
        self._device = device
        self.name, self.path = f"torch/{device}", path
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """See :class:`~emo_face.runtime.engines.base.Engine`."""
        import torch

        if missing := [spec.name for spec in self.inputs if spec.name not in feeds]:
            raise ModelError(f"{self.path}: input {', '.join(missing)} is missing")
        try:
            with torch.inference_mode():
                given = [torch.from_numpy(feeds[spec.name]).to(self._device) for spec in self.inputs]
                return [found.float().cpu().numpy() for found in self._module(*given)]
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            raise OutOfMemory(f"{self.path}: the GPU's memory is full") from None
