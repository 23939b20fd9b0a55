"""Which encoder a head belongs to: a fingerprint of files, equal on every machine, device and precision.

The feature cache's own key hashes tensors in memory, so it tells apart the same encoder in float32 and bfloat16; a head
must not. Two parts, so that a mismatch can be named: what Stage 1 made, and the frozen image encoder below it.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from emo_face.core.configs import from_dict
from emo_face.core.errors import ModelError
from emo_face.perception.multiview import checkpoint
from emo_face.perception.multiview.config import EncoderConfig, of_fingerprint
from emo_face.perception.multiview.encoders import model_type

ADAPTER, VISION = "adapter", "image_encoder"
_NAMES = {
    ADAPTER: f"Stage-1 weights or configuration ({checkpoint.WEIGHTS}, {checkpoint.CARD})",
    VISION: "image encoder (vision_model.* of the checkpoint)",
}
_CHUNK, _MAX_HEADER = 1 << 24, 100_000_000


def fingerprint(folder: Path, base: Path) -> dict[str, str]:
    """Fingerprint of the encoder in ``folder`` on the checkpoint ``base``: part -> sha256.

    Reads the image encoder's bytes once (4 GB of instructblip-vicuna-7b; seconds), never the language model's.

    Raises:
        ModelError: a card or the weights are missing or damaged; names the file.
    """
    return {ADAPTER: adapter_key(folder), VISION: vision_key(base)}


def adapter_key(folder: Path) -> str:
    """sha256 over the encoder's configuration and the sha256 of its weights file, which ``load_encoder`` checks."""
    card = checkpoint.read_card(folder)
    config = of_fingerprint(from_dict(EncoderConfig, card["config"], str(folder / checkpoint.CARD)))
    text = json.dumps({"config": config, checkpoint.WEIGHTS: card["sha256"]}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def vision_key(base: Path) -> str:
    """sha256 over name, type, shape and stored bytes of the image encoder's weights, however they are sharded."""
    where: dict[str, tuple[Path, int, dict[str, Any]]] = {}
    alone = model_type(base) == "siglip_vision_model"  # saved without its text tower: names have no prefix
    for path in _files(base):
        start, header = _header(path)
        for name, entry in header.items():
            if alone or "vision_model." in name:
                where["vision_model." + name.split("vision_model.", 1)[-1]] = (path, start, entry)
    if not where:
        raise ModelError(f"{base}: no weights vision_model.* in its safetensors files; fetch the checkpoint again")
    digest = hashlib.sha256()
    for name in sorted(where):
        path, start, entry = where[name]
        digest.update(json.dumps([name, entry["dtype"], entry["shape"]]).encode())
        with path.open("rb") as file:
            _hash_bytes(digest, file, start + entry["data_offsets"][0], start + entry["data_offsets"][1])
    return digest.hexdigest()


def check(
    trained_on: Mapping[str, str], found: Mapping[str, str], where: Path, what: str = "the head was trained on"
) -> None:
    """Refuse what belongs to another encoder; a part that either side does not know is not checked.

    Raises ModelError naming the file, the part, expected and got.
    """
    for part, expected in trained_on.items():
        if part in found and found[part] != expected:
            raise ModelError(
                f"{where}: {what} another {_NAMES.get(part, part)}: expected {expected[:12]}, "
                f"got {found[part][:12]}; put the right files there, or cache features with this encoder and train "
                "Stage 2 again: emo-face train multiview --help"
            )


def _files(base: Path) -> list[Path]:
    """As transformers chooses: one file if there is one, else the shards of the index."""
    single, index = base / "model.safetensors", base / "model.safetensors.index.json"
    if single.is_file() or not index.is_file():
        return [single] if single.is_file() else sorted(base.glob("*.safetensors"))
    shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    return [base / Path(name).name for name in sorted(shards)]


def _header(path: Path) -> tuple[int, dict[str, Any]]:
    """(first byte of the data, tensor name -> dtype, shape, data_offsets) of a safetensors file."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if not 2 <= size <= _MAX_HEADER:
                raise ValueError(f"header of {size} bytes")
            header: dict[str, Any] = json.loads(file.read(size))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: is no safetensors file ({error}); fetch the checkpoint again") from None
    header.pop("__metadata__", None)
    return 8 + size, header


def _hash_bytes(digest: Any, file: BinaryIO, start: int, end: int) -> None:
    file.seek(start)
    while start < end:
        part = file.read(min(_CHUNK, end - start))
        if not part:
            raise ModelError(f"{file.name}: is shorter than its header says; fetch the checkpoint again")
        digest.update(part)
        start += len(part)
