"""Skins for renders from the neutral frontal photos of the training people, by MediaPipe's facial points."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from emo_face.core.types import FloatArray
from emo_face.datasets.faces.faces import FacePicture
from emo_face.datasets.renders.draw import CAMERA_CM, HeadRenderer
from emo_face.datasets.renders.look import random_look
from emo_face.datasets.renders.skin import Skin, make_skin
from emo_face.perception.nano.facecrop import face_frame, warp
from emo_face.training.blendshapes.mesh import FaceMesh

SIDE = 320
SPREAD = 1.45  # side of the crop the mesh sees over the student's
FRONT_CM = 24.0


def skins_of(pictures: Sequence[FacePicture], head_folder: Path, mesh: FaceMesh) -> list[Skin]:
    """One skin for each neutral picture in which the mesh finds a face."""
    renderer = HeadRenderer(head_folder, SIDE)
    head = head_points(renderer, mesh)
    found = []
    for picture in (p for p in pictures if p.label == "Neutral"):
        x, y, side, tilt = face_frame(picture.face)
        crop = warp(picture.picture, x, y, side * SPREAD, tilt, SIDE)
        points, seen = mesh.points(crop)
        if seen:
            found.append(make_skin(renderer, head, crop, points[:, :2]))
    return found


def head_points(renderer: HeadRenderer, mesh: FaceMesh) -> FloatArray:
    """(478, 2) MediaPipe's points on the front plane of the resting head, cm, y down: found on a plain picture of
    it."""
    rng = np.random.default_rng(0)
    look = random_look(rng, SIDE)
    plain = replace(
        look,
        rotation=np.eye(3),
        shift=(0.0, 0.0),
        field_cm=FRONT_CM,
        warp_scale=np.ones(3),
        warp_offsets=np.zeros_like(look.warp_offsets),
        skin=0.7,
        brow=0.15,
        lip=0.45,
        hair=0.1,
        iris=0.15,
        sclera=0.95,
        beard=0.0,
        brow_width=0.45,
        brow_shift=0.0,
        hairline=10.5,
        hair_lift=0.5,
        glasses=0.0,
        lights=np.array([[0.2, 0.4, 0.9, 0.6]]),
        ambient=0.5,
        shine=0.05,
        exposure=0.65,
        gamma=0.8,
        background=np.full((SIDE, SIDE), 110.0, np.float32),
    )
    points, _ = mesh.points(renderer.render(np.zeros(52), plain, rng).image)
    depth = points[:, 2] * FRONT_CM / SIDE
    scale = FRONT_CM / SIDE * (1 + depth / CAMERA_CM)
    centre = np.array([0.0, -0.5])
    return np.asarray((points[:, :2] - SIDE / 2) * scale[:, None] + centre)
