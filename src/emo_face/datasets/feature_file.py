"""One shard of cached features as a file."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from emo_face.runtime.shards import Row

FORMAT = "emo_face.multiview.features/3"  # 3: shards by hash, any number of workers
HEADER = "emo_face"


class FeatureFile:
    """Features of a shard's people in safetensors; ids, keys and errors in its header."""

    suffix = ".safetensors"

    def write(self, path: Path, rows: Sequence[Row]) -> None:
        """See :class:`~emo_face.runtime.shards.RowFile`."""
        tensors = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in ("features", "present")}
        people = [[row["id"], row["key"], row.get("error", "")] for row in rows]
        header = json.dumps({"format": FORMAT, "people": people})  # one key: safetensors writes several in any order
        save_file(tensors, str(path), metadata={HEADER: header})

    def read(self, path: Path) -> list[Row]:
        """See :class:`~emo_face.runtime.shards.RowFile`."""
        people = self.people(path)
        tensors = load_file(str(path))
        features, present = tensors["features"].numpy(), tensors["present"].numpy()
        if not len(people) == len(features) == len(present):
            raise ValueError(f"{path}: {len(people)} people, {len(features)} rows")
        return [
            {"id": name, "key": key, "features": features[i], "present": present[i], **({"error": why} if why else {})}
            for i, (name, key, why) in enumerate(people)
        ]

    def failed(self, path: Path) -> int:
        """See :class:`~emo_face.runtime.shards.RowFile`."""
        return sum(bool(why) for _, _, why in self.people(path))

    @staticmethod
    def people(path: Path) -> list[list[str]]:
        """Id, key and error of every row; only the header is read. Raises ValueError for a file that is cut."""
        try:
            with safe_open(str(path), framework="pt") as file:
                found: list[list[str]] = json.loads(file.metadata()[HEADER])["people"]
                return found
        except SafetensorError as error:
            raise ValueError(f"{path}: {error}") from None
