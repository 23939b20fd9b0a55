"""What the paper leaves open, as fields: every default is argued in ``docs/multiview.md``."""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from emo_face.core.errors import ConfigError

VIEWS = ("scene", "body", "face")
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""RGB statistics of BLIP's image processor."""
Sharing = Literal["all", "body_face", "none"]


@dataclass(frozen=True)
class EncoderConfig:
    """The multi-view encoder.

    Attributes:
        kind: ``instructblip`` (the paper's, research only), ``siglip2`` or ``smolvlm`` (:mod:`.encoders`).
        views: which views are encoded. lora_rank: of adapters that learn from labels, 0 for none; not InstructBLIP's.
        mean, std: RGB statistics of the checkpoint. resample: its filter.
        qformer_sharing: one Q-Former for all views, one for the scene and one for body and face, or one per view.
        train: what Stage 1 trains, out of ``qformer``, ``queries``, ``projection``.
        feature: Stage 2 reads the Q-Former's outputs, or their projection into the language model.
        pool: the query outputs of a view averaged, flattened, or only the first.
        scene_box: red boxes on the scene view: of nobody, of the person asked about (one scene pass per person), or of
            all people (one scene pass per frame).
        resize: ``stretch`` to the square as BLIP's processor does, or ``letterbox``.
        image_size: pixels; the checkpoint's 224 is asserted.
        instruction: fixed Stage-2 instruction of the Q-Former; empty for queries alone. instruction_ids: its tokens.
    """

    kind: Literal["instructblip", "siglip2", "smolvlm"] = "instructblip"
    views: tuple[str, ...] = VIEWS
    qformer_sharing: Sharing = "all"
    train: tuple[str, ...] = ("qformer", "queries", "projection")
    feature: Literal["qformer", "projected"] = "qformer"
    pool: Literal["mean", "flatten", "cls_query"] = "mean"
    scene_box: Literal["none", "target", "all"] = "all"
    resize: Literal["stretch", "letterbox"] = "stretch"
    image_size: int = 224
    instruction: str = ""
    instruction_ids: tuple[int, ...] = ()
    lora_rank: int = 0
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    resample: Literal["bicubic", "bilinear", "lanczos"] = "bicubic"

    LATER: ClassVar[tuple[str, ...]] = ("kind", "lora_rank", "mean", "std", "resample")
    """Fields that older encoders do not know: at their default they are no part of a fingerprint."""

    def __post_init__(self) -> None:
        if not self.tuned_on_corpus:
            self._check_tower()
        elif self.lora_rank:
            raise ConfigError(f"lora_rank: expected 0 for {self.kind}, which Stage 1 tunes, got {self.lora_rank}")
        if not self.views or any(view not in VIEWS for view in self.views) or len(set(self.views)) != len(self.views):
            raise ConfigError(f"views: expected some of {', '.join(VIEWS)}, each once, got {self.views}")
        unknown = set(self.train) - {"qformer", "queries", "projection"}
        if unknown:
            raise ConfigError(f"train: expected some of qformer, queries, projection, got {', '.join(sorted(unknown))}")
        if self.image_size < 1:
            raise ConfigError(f"image_size: expected a positive number of pixels, got {self.image_size}")

    @property
    def tuned_on_corpus(self) -> bool:
        """Whether Stage 1 tunes it on questions and answers; else ``adapt`` on labels, if at all."""
        return self.kind == "instructblip"

    def _check_tower(self) -> None:
        pools = ("mean", "cls_query") if self.kind == "siglip2" else ("mean",)
        for name, only in (("feature", ("qformer",)), ("pool", pools), ("instruction", ("",))):
            if getattr(self, name) not in only:
                wanted = " or ".join(map(repr, only))
                raise ConfigError(f"{name}: expected {wanted} for {self.kind}, got {getattr(self, name)!r}")
        if self.lora_rank < 0:
            raise ConfigError(f"lora_rank: expected at least 0, got {self.lora_rank}")

    def group(self, view: str) -> str:
        """Name of the Q-Former that ``view`` goes through."""
        if self.qformer_sharing == "all":
            return "all"
        if self.qformer_sharing == "body_face":
            return "scene" if view == "scene" else "body_face"
        return view


@dataclass(frozen=True)
class FusionConfig:
    """The Stage-2 head.

    Attributes:
        label_set: of the scores. views: in the order of the feature tensor. in_features: of one view.
        width: of a view after its own fully connected layer. heads: of the self-attention over views.
        attention: use the self-attention over views. activation: between layers; the paper names none.
        vad: add valence, arousal and dominance (EMOTIC has them). dropout: probability in [0, 1).
        view_dropout: probability in [0, 1) that a view is masked as if it were missing.
    """

    label_set: str
    views: tuple[str, ...] = VIEWS
    in_features: int = 768
    width: int = 256
    heads: int = 4
    attention: bool = True
    activation: Literal["none", "gelu"] = "none"
    vad: bool = False
    dropout: float = 0.1
    view_dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ConfigError(f"width: expected a multiple of heads ({self.heads}), got {self.width}")
        for name in ("dropout", "view_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected 0 <= value < 1, got {getattr(self, name)}")


def of_fingerprint(config: EncoderConfig) -> dict[str, Any]:
    """What of the configuration decides the features."""
    fields = {field.name: field.default for field in dataclasses.fields(config)}
    later = {name for name in config.LATER if getattr(config, name) == fields[name]}
    return {name: value for name, value in to_dict(config).items() if name not in later}


def to_dict(config: Any) -> dict[str, Any]:
    """JSON-ready fields of a config dataclass."""
    return dataclasses.asdict(config)
