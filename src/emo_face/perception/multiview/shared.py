"""Scores and answers from one loaded InstructBLIP: its frozen image encoder is in memory once.

If the answers' Stage 1 is the scores' own (the usual case), the whole encoder is one object. If it is another,
or none, only what Stage 1 trains (186 M of 1.2 B parameters at the true size) exists twice, as its values differ.
"""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from emo_face.perception.multiview import checkpoint, fingerprint, head_file
from emo_face.perception.multiview.ask import Asker, load_tokenizers
from emo_face.perception.multiview.model import MultiViewEmotion, check_encoder, emotion_model_of, precision


def load(folder: Path, base: Path, stage1: Path | None, device: str = "cpu") -> tuple[MultiViewEmotion, Asker]:
    """Load a Stage 2 folder and what answers questions around one InstructBLIP.

    Args:
        folder: of Stage 2 (``encoder.*``, ``head.*``). stage1: of the encoder that answers; None answers with the
            checkpoint as it is.

    Raises:
        ModelError: something is missing or does not fit; says what and the fix.
    """
    from emo_face.perception.multiview.vlm import MultiViewVLM, load_vlm

    head, card = head_file.load(folder)
    check_encoder(card, folder, base)
    loaded = checkpoint.load_base(base, precision(device))
    if stage1 is not None and fingerprint.adapter_key(stage1) == fingerprint.adapter_key(folder):
        encoder = checkpoint.load_encoder(folder, loaded)
        vlm = MultiViewVLM(loaded, encoder.config, encoder)
    else:
        encoder = checkpoint.load_encoder(folder, lend(loaded))
        vlm = load_vlm(stage1, loaded)
    answering = Asker(vlm, *load_tokenizers(base), device)
    return emotion_model_of(encoder, head, card, folder, device, alone=False), answering


def lend(base: Any) -> Any:
    """What an encoder takes from an InstructBLIP, with the image encoder itself but a Q-Former of its own."""
    return SimpleNamespace(
        config=base.config,
        vision_model=base.vision_model,
        qformer=copy.deepcopy(base.qformer),
        query_tokens=base.query_tokens,
        language_projection=base.language_projection,
    )
