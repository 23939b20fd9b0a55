"""Near-duplicate pictures by difference hash: the frames of one film clip, or one picture in two splits."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from emo_face.core.types import ImageArray
from emo_face.runtime.stills import read_picture

MAX_DISTANCE = 7
"""Bits. Eight bands of eight bits find every pair up to this distance (pigeonhole)."""


def dhash(picture: ImageArray) -> int:
    """64-bit difference hash of a BGR or grey picture: sign of the horizontal gradient on a 9 x 8 grid."""
    grey = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    bits = (small[:, 1:] > small[:, :-1]).ravel()
    return int(np.packbits(bits).view(">u8")[0])


def hash_files(paths: Sequence[Path]) -> NDArray[np.uint64]:
    """Hash of each file. Raises SourceError naming a file that does not decode."""
    return np.array([dhash(read_picture(path, cv2.IMREAD_GRAYSCALE)) for path in paths], np.uint64)


def pairs(hashes: NDArray[np.uint64], distance: int = 4) -> Iterator[tuple[int, int]]:
    """Index pairs (i < j) of hashes at most ``distance`` bits apart, each once; identical hashes chained only.

    Raises ValueError for a distance over :data:`MAX_DISTANCE`.
    """
    if not 0 <= distance <= MAX_DISTANCE:
        raise ValueError(f"distance: expected 0..{MAX_DISTANCE}, got {distance}")
    unique, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    for i, position in enumerate(inverse):
        if first[position] != i:
            yield int(first[position]), i
    bands = unique.view(np.uint8).reshape(-1, 8)
    for band in range(8):
        order = np.argsort(bands[:, band], kind="stable")
        edges = np.flatnonzero(np.diff(bands[order, band])) + 1
        for bucket in np.split(order, edges):
            for k, i in enumerate(bucket[:-1]):
                others = bucket[k + 1 :]
                near = others[bits_apart(unique[i], unique[others]) <= distance]
                # A pair that already met in an earlier band was reported there.
                fresh = near[(bands[near, :band] != bands[i, :band]).all(axis=1)]
                for j in fresh:
                    a, b = int(first[i]), int(first[j])
                    yield min(a, b), max(a, b)


def bits_apart(one: np.uint64, many: NDArray[np.uint64]) -> NDArray[np.int64]:
    """(n,) how many of the 64 bits of each of ``many`` hashes differ from ``one``'s."""
    bits = np.unpackbits(np.bitwise_xor(one, many).view(np.uint8).reshape(-1, 8), axis=1)
    return np.asarray(bits.sum(axis=1), np.int64)


def groups(hashes: NDArray[np.uint64], distance: int = 4) -> NDArray[np.int64]:
    """The number of the first hash of its group for each: connected components of :func:`pairs`."""
    linked = np.array(list(pairs(hashes, distance)), np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(linked)), (linked[:, 0], linked[:, 1])), shape=(len(hashes), len(hashes)))
    part = connected_components(graph, directed=False)[1]
    return np.asarray(np.unique(part, return_index=True)[1][part], np.int64)
