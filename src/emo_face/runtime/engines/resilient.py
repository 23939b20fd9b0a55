"""An engine on a GPU that goes on when the GPU fails: smaller buckets first, then the CPU; each step is logged."""

import threading
from collections.abc import Callable, Mapping

from emo_face.runtime.engines.base import Array, DeviceError, Engine, OutOfMemory
from emo_face.runtime.engines.plan import Plan, run_in_buckets

Say = Callable[[str, str], None]


class Resilient:
    """Wraps an engine on a GPU; fills :class:`emo_face.runtime.engines.base.Engine`.

    The answers stay the same, only their time grows: smaller pieces, then the ONNX file on the CPU.
    """

    def __init__(self, engine: Engine, plan: Plan, spare: Callable[[], Engine], say: Say) -> None:
        """``spare`` loads the same model on the CPU; ``say(engine, text)`` hears what changed and why."""
        self._plan, self._spare, self._say = plan, spare, say
        self._take(engine)
        self._on_gpu = True
        self._largest = max(plan.buckets, default=0)
        self._lock = threading.Lock()

    def _take(self, engine: Engine) -> None:
        self._engine = engine
        self.name, self.path, self.metadata = engine.name, engine.path, engine.metadata
        self.inputs, self.outputs = engine.inputs, engine.outputs

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """See :class:`~emo_face.runtime.engines.base.Engine`; a failing GPU costs time, not the answer."""
        with self._lock:
            while self._on_gpu:
                try:
                    return self._once(feeds)
                except OutOfMemory as error:
                    self._shrink(error)
                except DeviceError as error:
                    self._to_cpu(str(error))
            return self._engine.run(feeds)

    def _once(self, feeds: Mapping[str, Array]) -> list[Array]:
        if not self._plan.batched:
            return self._engine.run(feeds)
        return run_in_buckets(self._engine, self._plan, feeds, self._largest)

    def _shrink(self, error: OutOfMemory) -> None:
        smaller = self._plan.smaller(self._largest)
        if smaller is None:
            self._to_cpu(str(error))
            return
        self._largest = smaller
        self._say(self.name, f"{error}: at most {smaller} rows at a time from now on")

    def _to_cpu(self, reason: str) -> None:
        self._take(self._spare())
        self._on_gpu = False
        self._say(self.name, f"{reason}: it runs on the CPU until the node is restarted")
