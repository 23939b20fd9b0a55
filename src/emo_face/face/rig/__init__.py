"""Rigs: which motors a head has, what moves them, and within which limits."""

from emo_face.face.rig.rig import Rig, load_rig

__all__ = ["Rig", "load_rig"]
