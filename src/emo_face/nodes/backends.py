"""Load the models that the nodes' parameters name: the nano tier's, or the full tier's with its extras."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emo_face.core.errors import ConfigError
from emo_face.expression.model import ExpressionModel
from emo_face.perception.emotion import EmotionModel
from emo_face.ros.backend import needs_extra
from emo_face.ros.parameters.schema import Value, build
from emo_face.runtime.engines.select import Engines
from emo_face.runtime.store import ModelStore


def emotion_model(values: Mapping[str, Value], store: ModelStore, engines: Engines) -> EmotionModel:
    """Load the emotion model of a tier: ``nano`` (onnxruntime), or the multi-view one of ``medium`` and ``full``."""
    p: Mapping[str, Any] = values
    if p["tier"] == "nano":
        from emo_face.perception.nano.model import build_nano

        return build_nano(store, p["speech.ttl"], engines, face=p["emotion.face"])
    folder = _folder(p["multiview.folder"])
    if folder is None:
        raise ConfigError("multiview.folder is empty: name the folder of a trained or exported multi-view model")
    with needs_extra("full"):
        from emo_face.perception.multiview.model import load

        return load(folder, _folder(p["multiview.base"]), engines=engines, tier=str(p["tier"]))


def perception_models(values: Mapping[str, Value], store: ModelStore, engines: Engines) -> tuple[EmotionModel, Any]:
    """The emotion backend, and what answers ``~/ask`` (None if ``multiview.ask`` is off).

    Both in torch share one loaded InstructBLIP. Exported graphs cannot answer: their instruction is baked in, so an
    exported folder beside ``multiview.ask`` holds the image encoder twice.

    Raises: as :func:`emotion_model` and :func:`asker`.
    """
    p: Mapping[str, Any] = values
    if not p["multiview.ask"]:
        return emotion_model(values, store, engines), None
    folder, base = _folder(p["multiview.folder"]), _folder(p["multiview.base"])
    exported = folder is not None and (folder / "export.json").is_file()
    if p["tier"] != "full" or folder is None or base is None or exported:
        return emotion_model(values, store, engines), asker(values, engines)
    with needs_extra("full"):
        from emo_face.perception.multiview import shared

        return shared.load(folder, base, _folder(p["multiview.stage1"]), engines.torch_device("multiview"))


def _folder(text: str) -> Path | None:
    return Path(text).expanduser() if text else None


def asker(values: Mapping[str, Value], engines: Engines) -> Any:
    """Load what answers ``~/ask`` of the perception node: InstructBLIP, tuned if ``multiview.stage1`` says so.

    Raises:
        ConfigError: multiview.base is empty, or the extra is not installed.
        ModelError: a file of either folder is missing or damaged.
    """
    base = _folder(str(values["multiview.base"]))
    if base is None:
        raise ConfigError("multiview.ask needs multiview.base: the folder of the checkpoint that answers")
    with needs_extra("full"):
        from emo_face.perception.multiview.ask import load

        return load(base, _folder(str(values["multiview.stage1"])), engines.torch_device("ask"))


def expression_model(values: Mapping[str, Value], engines: Engines) -> ExpressionModel:
    """Load the expression backend: ``prototypes`` (nano), or ``contextface``: the full tier, or a server instead."""
    if values["backend"] == "prototypes":
        from emo_face.expression.prototypes import PrototypeExpression, PrototypeSettings

        return PrototypeExpression(build(PrototypeSettings, values))
    if values["contextface.endpoint"]:
        return endpoint_model(values)
    with needs_extra("full"):
        return contextface_model(values, engines)


def contextface_model(values: Mapping[str, Value], engines: Engines) -> ExpressionModel:
    """ContextFace: weights in torch, or a folder of exported graphs, which needs none.

    Raises:
        ConfigError: no model folder is named. ModelError: it, or its backbone, does not load.
    """
    from emo_face.expression.contextface.backend import ContextFaceExpression, ContextFaceSettings
    from emo_face.expression.contextface.exported.engine import is_exported, load_exported
    from emo_face.expression.prototypes import PrototypeExpression, PrototypeSettings
    from emo_face.runtime.weights import model_folder

    p: Mapping[str, Any] = values
    if not p["contextface.model"]:
        raise ConfigError(
            "contextface.model: is empty; give smollm2_face (scripts/setup.sh contextface) or the folder of a model of "
            "yours (emo-face train contextface --help), or set backend: prototypes"
        )
    folder = model_folder(p["contextface.model"])
    if is_exported(folder):
        engine: Any = load_exported(folder, engines)
    else:
        from emo_face.expression.contextface.engine import EngineSettings, load_engine

        device = engines.torch_device("contextface")
        own = p["contextface.backbone"], device, p["contextface.dtype"], p["contextface.quantisation"]
        engine = load_engine(EngineSettings(folder, *own))
    rest = build(PrototypeSettings, values)
    settings = ContextFaceSettings(
        perspective=rest.perspective,
        decision=p["contextface.decision"],
        image_period=p["contextface.image_period"],
        intensity=rest.intensity,
        valid_for=rest.valid_for,
        timed=rest.timed,
        camera=rest.camera,
    )
    return ContextFaceExpression(engine, settings, PrototypeExpression(rest))


def endpoint_model(values: Mapping[str, Value]) -> ExpressionModel:
    """What asks the server that ``contextface.endpoint`` names. Raises ConfigError for a wrong address or no model.

    A key is taken from the environment (``EMO_FACE_ENDPOINT_KEY``): parameters can be read by everybody in the graph.
    """
    from emo_face.expression.endpoint.backend import EndpointExpression
    from emo_face.expression.endpoint.client import EndpointClient, EndpointSettings
    from emo_face.expression.prototypes import PrototypeSettings

    p: Mapping[str, Any] = values
    key = os.environ.get("EMO_FACE_ENDPOINT_KEY", "")
    url, model = p["contextface.endpoint"], p["contextface.endpoint_model"]
    timeout, remote = p["contextface.endpoint_timeout"], p["contextface.endpoint_remote"]
    client = EndpointClient(EndpointSettings(url, model, key, timeout, remote))
    return EndpointExpression(client, build(PrototypeSettings, values), p["contextface.image_period"])
