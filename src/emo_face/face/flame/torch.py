"""FLAME in torch, batched and differentiable; the same equations as :mod:`emo_face.face.flame.model`.

torch is imported when an instance is made, so the nano tier never needs it.
"""

from typing import Any

import numpy as np

from emo_face.face.flame.model import EXPRESSIONS, SHAPES, FlameModel


class TorchFlame:
    """A :class:`FlameModel` on a torch device.

    Args:
        device: torch device. dtype: name of a torch dtype, ``float64`` or ``float32``.
    """

    def __init__(self, model: FlameModel, device: str = "cpu", dtype: str = "float32") -> None:
        import torch

        self._torch = torch
        self.parents = model.parents

        def tensor(array: np.ndarray[Any, Any]) -> Any:
            return torch.as_tensor(array, dtype=getattr(torch, dtype), device=device)

        self.template, self.directions = tensor(model.template), tensor(model.directions)
        self.pose_directions, self.regressor = tensor(model.pose_directions), tensor(model.regressor)
        self.weights = tensor(model.weights)
        self.eyelids = tensor(model.eyelids) if model.eyelids is not None else None

    def __call__(self, shape: Any = None, expression: Any = None, pose: Any = None, eyelids: Any = None) -> Any:
        """(b, v, 3) vertices in metres.

        Args:
            shape: (b, up to 300). expression: (b, up to 100). pose: (b, 5, 3) axis-angle, in the order of ``JOINTS``.
            eyelids: (b, 2) in [0, 1].

        Raises:
            ValueError: nothing given, too many coefficients, or eyelids without eyelid shapes.
        """
        given = [x for x in (shape, expression, pose, eyelids) if x is not None]
        if not given:
            raise ValueError("give at least one of shape, expression, pose, eyelids: the batch size comes from it")
        vertices = self.template.expand(len(given[0]), -1, -1)
        for values, start, limit in ((shape, 0, SHAPES), (expression, SHAPES, EXPRESSIONS)):
            if values is not None:
                if values.shape[1] > limit:
                    raise ValueError(f"{values.shape[1]} coefficients, expected at most {limit}")
                part = self.directions[:, :, start : start + values.shape[1]]
                vertices = vertices + self._torch.einsum("bk,vck->bvc", values, part)
        if eyelids is not None:
            if self.eyelids is None:
                raise ValueError("this model has no eyelid shapes; run: emo-face flame import")
            vertices = vertices + self._torch.einsum("bk,kvc->bvc", eyelids, self.eyelids)
        return vertices if pose is None else self._skin(vertices, pose)

    def rotations(self, vectors: Any) -> Any:
        """(..., 3, 3) of axis-angle vectors (..., 3); smooth at zero."""
        torch = self._torch
        square = (vectors * vectors).sum(-1)
        small = square < 1e-12
        safe = torch.where(small, torch.ones_like(square), square)
        angle = safe.sqrt()
        first = torch.where(small, 1 - square / 6, angle.sin() / angle)[..., None, None]
        second = torch.where(small, 0.5 - square / 24, 2 * (angle / 2).sin() ** 2 / safe)[..., None, None]
        x, y, z = vectors.unbind(-1)
        zero = torch.zeros_like(x)
        skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*vectors.shape[:-1], 3, 3)
        eye = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
        return eye + first * skew + second * (skew @ skew)

    def _skin(self, vertices: Any, pose: Any) -> Any:
        torch = self._torch
        rotations = self.rotations(pose)
        eye = torch.eye(3, dtype=pose.dtype, device=pose.device)
        feature = (rotations[:, 1:] - eye).flatten(1)
        posed = vertices + torch.einsum("bk,vck->bvc", feature, self.pose_directions)
        joints = torch.einsum("jv,bvc->bjc", self.regressor, vertices)
        turned, placed = [rotations[:, 0]], [joints[:, 0]]
        for i, parent in enumerate(self.parents[1:], start=1):
            turned.append(turned[parent] @ rotations[:, i])
            step = (turned[parent] @ (joints[:, i] - joints[:, parent])[..., None])[..., 0]
            placed.append(placed[parent] + step)
        world = torch.stack(turned, 1)
        shift = torch.stack(placed, 1) - (world @ joints[..., None])[..., 0]
        rotation = torch.einsum("vj,bjrc->bvrc", self.weights, world)
        return (rotation @ posed[..., None])[..., 0] + torch.einsum("vj,bjc->bvc", self.weights, shift)
