"""Pictures of the simulated head, drawn off the screen: what its servos really do with a face."""

from types import TracebackType
from typing import Any

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.types import FloatArray, ImageArray
from emo_face.face.drivers.sim import SimDriver, mujoco
from emo_face.face.rig.rig import Rig
from emo_face.face.sim.head import ACROSS, BETWEEN, HIGH, OUT, face_joints, pose

PERIOD = 0.01  # s of the loop that moves it
LONGEST = 2.0  # s of a gap that are simulated


class SimHead:
    """A rig's head with its safety gate and simulated servos; use it in a ``with`` block.

    Args:
        size: width and height of a picture, pixels.

    Raises:
        MissingLibrary: MuJoCo is not installed. UserError: it cannot draw here; says what to install.
    """

    def __init__(self, rig: Rig, size: tuple[int, int]) -> None:
        library = mujoco()
        self._library, self._rig = library, rig
        self.driver, self._gate = SimDriver(rig, PERIOD), rig.gate(PERIOD)
        self.model, self._data = self.driver.model, library.MjData(self.driver.model)
        self._joints = np.array([self.model.joint(joint.name).qposadr[0] for joint in face_joints()])
        self._points = {self.model.body(name).mocapid[0]: ends for name, ends in BETWEEN.items()}
        self._now, self._stamp = 0.0, None  # type: float, float | None
        self.driver.connect()
        self.driver.enable(True)
        self._gate.enable(self.driver.position, self._now)
        try:
            self._renderer: Any = library.Renderer(self.model, size[1], size[0])
        except Exception as error:  # each of its ways to draw fails in its own manner
            raise UserError(
                f"MuJoCo cannot draw here ({error}): sudo apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri, or set "
                "MUJOCO_GL=osmesa or glfw"
            ) from None

    def __enter__(self) -> "SimHead":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._renderer.close()

    def advance(self, arkit: FloatArray, seconds: float) -> None:
        """Ask for a face (52,) and let ``seconds`` pass, through the rig's limits and interlocks."""
        target = self._rig.targets(np.asarray(arkit, np.float64))
        for _ in range(max(1, round(seconds / PERIOD))):
            self._now += PERIOD
            self._gate.command(target, self._now, self._now, smooth=True)
            self.driver.write(self._gate.tick(self._now).position)

    def until(self, arkit: FloatArray, stamp: float) -> None:
        """Ask for a face (52,) and let the time pass to ``stamp``, s; the first stamp is the beginning."""
        passed = stamp - self._stamp if self._stamp is not None else PERIOD
        self._stamp = stamp
        self.advance(arkit, min(max(passed, 0.0), LONGEST))

    def draw(self) -> ImageArray:
        """What the head looks like now, H x W x 3 BGR uint8."""
        self._data.qpos[self._joints] = pose(self._rig.shown_at(self._rig.drive(self.driver.position)))
        self._library.mj_kinematics(self.model, self._data)
        for point, (corner, middle) in self._points.items():
            start, end = self._data.body(corner).xpos, self._data.body(middle).xpos
            self._data.mocap_pos[point] = start + (end - start) * [ACROSS, 0.5, HIGH] - [0.0, OUT, 0.0]
        self._library.mj_forward(self.model, self._data)
        self._renderer.update_scene(self._data, "front")
        return np.ascontiguousarray(self._renderer.render()[:, :, ::-1])
