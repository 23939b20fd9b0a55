"""perception/detectors/yolo_head.py and detect_yolo.py against the structure that ultralytics' exporter writes.

Shapes and key-value pairs are those of files by ultralytics 8.4.190 (``YOLO(...).export(format="onnx", ...)``) of
yolo11n, yolo11n-seg, yolo11n-pose, yolo12n, yolo26n and yolo26n-pose; real exports of the first two with trained
weights were tried by hand: tests/README.md. The networks here give constant numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_face.core.errors import ModelError
from emo_face.perception.detect_yolo import YoloPersonDetector
from emo_face.runtime.engines.base import TensorSpec
from emo_face.runtime.engines.ort import OrtEngine

onnx = pytest.importorskip("onnx", reason="makes the files: pip install onnx")

COCO = {0: "person", 1: "bicycle", 2: "car", **{n: f"thing {n}" for n in range(3, 80)}}
PEOPLE = ((100, 200, 80, 160, 0.9), (400, 300, 60, 200, 0.7))  # cx, cy, w, h in pixels of 640 x 640, score
CAR = (300, 500, 200, 100, 0.95)
FRAME = np.full((640, 640, 3), 114, np.uint8)


def columns(classes: int = 80, person: int = 0, car: int | None = 2, extra: int = 0, anchors: int = 8400) -> np.ndarray:
    """[1, 4 + classes + extra, anchors]: a grid of empty anchors, and what is in the picture among them."""
    out = np.zeros((4 + classes + extra, anchors), np.float32)
    out[:2] = np.linspace(4, 636, anchors)
    out[2:4] = 20
    out[4 + classes :] = 300.0  # coordinates of keypoints, no scores
    for at, (cx, cy, w, h, score) in enumerate([*PEOPLE, *([CAR] if car is not None else [])], 10):
        out[:4, at] = cx, cy, w, h
        out[4 + (person if at < 12 else car), at] = score  # type: ignore[operator]
    return out[None]


def found(person: int = 0, car: int = 2, extra: int = 0, rows: int = 300) -> np.ndarray:
    """[1, 300, 6 + extra]: corners, score, class, best first, zeros below."""
    out = np.zeros((rows, 6 + extra), np.float32)
    for at, (cx, cy, w, h, score) in enumerate([CAR, *PEOPLE]):
        out[at, :6] = cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, score, car if not at else person
    return out[None]


def file(
    path: Path,
    *outputs: np.ndarray,
    shape: tuple[Any, ...] = (1, 3, 640, 640),
    declared: tuple[Any, ...] | None = None,
    dtype: str = "float32",
    names: dict[int, str] | None = COCO,
    **metadata: str,
) -> Path:
    """A network of constant outputs with the exporter's key-value pairs."""
    kinds = {"float32": onnx.TensorProto.FLOAT, "float16": onnx.TensorProto.FLOAT16, "uint8": onnx.TensorProto.UINT8}
    entry = onnx.helper.make_tensor_value_info("images", kinds[dtype], list(shape))
    nodes, infos = [], []
    for number, values in enumerate(outputs):
        kind = "float32" if dtype == "uint8" else dtype
        tensor = onnx.numpy_helper.from_array(values.astype(kind), f"values{number}")
        nodes.append(onnx.helper.make_node("Constant", [], [f"output{number}"], value=tensor))
        dims = list(declared) if declared is not None and not number else list(values.shape)
        infos.append(onnx.helper.make_tensor_value_info(f"output{number}", kinds[kind], dims))
    graph = onnx.helper.make_graph(nodes, "main_graph", [entry], infos)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    pairs = {
        "description": "Ultralytics YOLO11n model trained on coco.yaml",
        "task": "detect",
        "stride": "32",
        "imgsz": "[640, 640]",
        "batch": "1",
        "end2end": "False",
        **metadata,
    }
    onnx.helper.set_model_props(model, pairs | ({"names": str(names)} if names is not None else {}))
    onnx.save(model, path)
    return path


def people(path: Path) -> list[tuple[float, ...]]:
    bodies = YoloPersonDetector(OrtEngine(path), imgsz=640).detect(FRAME)
    return [(b.box.center[0], b.box.center[1], b.box.width, b.box.height, b.score) for b in bodies]


DYNAMIC = ("batch", 3, "height", "width")
MASKS = np.zeros((1, 32, 160, 160), np.float32)
FORMS: dict[str, tuple[tuple[np.ndarray, ...], dict[str, Any]]] = {
    "export(format='onnx')": ((columns(),), {}),
    "half=True before 8.4": ((columns(),), {"dtype": "float16"}),
    "nms=True": ((found(),), {}),
    "nms=True, dynamic=True": ((found(),), {"shape": DYNAMIC, "declared": ("batch", 300, 6)}),
    "yolo26n, nms=False": ((found(),), {"description": "Ultralytics YOLO26n model", "end2end": "True"}),
    "transposed by another exporter": ((columns().transpose(0, 2, 1),), {}),
    "dynamic=True": ((columns(),), {"shape": DYNAMIC, "declared": ("batch", 84, "anchors")}),
    "dynamic=True, rows left open": ((columns(),), {"shape": DYNAMIC, "declared": ("batch", "r", "a")}),
    # as 8.4.190 wrote them where onnxslim is not installed, with two classes: 4 + 2 = 6
    "nms=True, dynamic=True, simplify=False": (
        (found(1, 0),),
        {"names": {0: "head", 1: "person"}, "shape": DYNAMIC, "declared": ("batch", "Slice_1", "Slice_2")},
    ),
    "yolo26n, nms=False, dynamic=True, simplify=False": (
        (found(),),
        {"end2end": "True", "shape": DYNAMIC, "declared": ("batch", "Concat_1", "anchors")},
    ),
    "yolo11n-seg, nms=True, dynamic=True, simplify=False": (
        (found(extra=32), MASKS),
        {"task": "segment", "shape": DYNAMIC, "declared": ("batch", "r", "c")},
    ),
    "yolo26n-p2": ((columns(anchors=34000),), {"description": "Ultralytics YOLO26n-p2 model"}),
    "yolo26n-p6": ((columns(anchors=8500),), {"description": "Ultralytics YOLO26n-p6 model", "stride": "64"}),
    "yolo26n-p6, dynamic=True": ((columns(anchors=8500),), {"shape": DYNAMIC, "stride": "64"}),
    "max_det=50, nms=True": ((found(rows=50),), {}),
    "yolo11n-seg": ((columns(extra=32), MASKS), {"task": "segment"}),
    "yolo11n-seg, nms=True": ((found(extra=32), MASKS), {"task": "segment"}),
    "yolo11n-pose": (
        (columns(1, car=None, extra=51),),
        {"task": "pose", "kpt_shape": "[17, 3]", "names": {0: "person"}},
    ),
    "yolo26n-pose, nms=False": (
        (found(extra=51, car=1),),
        {"task": "pose", "kpt_shape": "[17, 3]", "names": {0: "person"}, "end2end": "True"},
    ),
    "one class": ((columns(1, car=None),), {"names": {0: "Person"}}),
    "CrowdHuman": ((columns(2, person=1, car=0),), {"names": {0: "head", 1: "person"}}),
    "CrowdHuman, transposed": ((columns(2, person=1, car=0).transpose(0, 2, 1),), {"names": {0: "head", 1: "person"}}),
    "CrowdHuman, nms=True": ((found(1, 0),), {"names": {0: "head", 1: "person"}}),
    "VisDrone": (
        (columns(10, person=1, car=3),),
        {"names": {0: "pedestrian", 1: "people", 2: "bicycle", 3: "car"} | {n: f"thing {n}" for n in range(4, 10)}},
    ),
    # cfg/datasets/kitti.yaml, cityscapes.yaml and lvis.yaml of ultralytics
    "KITTI": ((columns(8, person=4, car=0),), {"names": {**{n: f"thing {n}" for n in range(8)}, 4: "person_sitting"}}),
    "Cityscapes": ((columns(19, person=12, car=0),), {"names": {**{n: f"thing {n}" for n in range(19)}, 12: "rider"}}),
    "LVIS": (
        (columns(3, person=1, car=0),),
        {"names": {0: "snowman", 1: "person/baby/child/boy/girl/man/woman/human", 2: "cowboy hat/ten-gallon hat"}},
    ),
    "names as a list": ((columns(2, car=1),), {"names": ["person", "dog"]}),
    "key-value pairs stripped": ((columns(),), {"names": None, "task": "detect"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_people(form: str, tmp_path: Path) -> None:
    outputs, options = FORMS[form]
    got = people(file(tmp_path / "yolo.onnx", *outputs, **options))
    np.testing.assert_allclose(got, PEOPLE, rtol=2e-3)


def test_a_stride_of_64_is_kept(tmp_path: Path) -> None:
    detector = YoloPersonDetector(
        OrtEngine(file(tmp_path / "p6.onnx", columns(anchors=8500), shape=DYNAMIC, stride="64")), 640
    )
    fit = detector._fit(640, 360)
    assert (fit.width, fit.height) == (640, 384)


REFUSED: dict[str, tuple[tuple[np.ndarray, ...], dict[str, Any], str]] = {
    "faces": ((columns(1, car=None),), {"names": {0: "face"}}, "detects face, no people"),
    "things": ((columns(),), {"names": {n: f"thing {n}" for n in range(80)}}, "detects thing 0, thing 1, .*no people"),
    "classifier": ((np.zeros((1, 1000)),), {"task": "classify"}, "task 'classify', expected detect"),
    "oriented boxes": ((columns(extra=1),), {"task": "obb"}, "task 'obb'"),
    "batch=4": ((np.zeros((4, 84, 8400)),), {"shape": (4, 3, 640, 640)}, "4 pictures at once"),
    "bytes": ((columns(),), {"dtype": "uint8"}, "takes uint8 pictures"),
    "one side fixed": ((columns(),), {"shape": (1, 3, "h", 640)}, "one side"),
    "YOLOv5: objectness": ((np.zeros((1, 25200, 85)),), {}, r"cannot tell.*float32\[1,25200,85\], 80 classes"),
    "one class without names": ((columns(1, car=None),), {"names": None}, "cannot tell.*no names"),
    "NMS without names": ((found(),), {"names": None}, "does not name its classes"),
    "RT-DETR": ((np.full((1, 300, 84), 0.5),), {"head": "RTDETRDecoder"}, "cannot tell"),
    "grey pictures": ((columns(),), {"shape": (1, 1, 640, 640), "channels": "1"}, "expected one input"),
    "semantic": ((np.zeros((1, 19, 640, 640)),), {"task": "semantic"}, "task 'semantic'"),
    "human parts": ((columns(3),), {"names": {0: "Human face", 1: "Human hand", 2: "Car"}}, "no people"),
    "pose without keypoints": ((columns(1, car=None, extra=51),), {"task": "pose"}, "cannot tell.*'pose'"),
    "logits for scores": ((columns() * 20 - 10,), {}, "scores from -10 to"),
    "scores in per cent": ((np.where(np.arange(84)[None, :, None] < 4, columns(), 100 * columns()),), {}, "to 90"),
    "boxes in shares": ((np.where(np.arange(84)[None, :, None] < 4, columns() / 640, columns()),), {}, "pixels"),
    "two outputs": ((columns(), columns()), {}, "not a YOLO detector"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_everything_else_is_refused_with_what_was_found(form: str, tmp_path: Path) -> None:
    outputs, options, said = REFUSED[form]
    path = file(tmp_path / "odd.onnx", *outputs, **options)
    with pytest.raises(ModelError, match=said) as error:
        YoloPersonDetector(OrtEngine(path))
    assert "odd.onnx" in str(error.value)


def test_a_rectangle_is_filled_as_the_file_is(assets: Path, tmp_path: Path) -> None:
    """``imgsz=(384, 640)``: the real network with its input fixed at another shape than the picture's."""
    model = onnx.load(assets / "yolo" / "yolo11n_dequant.onnx")
    for dim, value in zip(model.graph.input[0].type.tensor_type.shape.dim, (1, 3, 384, 640), strict=True):
        dim.dim_value = value
    for dim, value in zip(model.graph.output[0].type.tensor_type.shape.dim, (1, 84, 5040), strict=True):
        dim.dim_value = value
    onnx.save(model, tmp_path / "rect.onnx")
    detector = YoloPersonDetector(OrtEngine(tmp_path / "rect.onnx"))
    detector.warm_up()
    for name, number in (("people/max_soccer.jpg", 3), ("emotion/max_group.jpeg", 5), ("emotion/max_non_face.jpg", 0)):
        picture = cv2.imread(str(assets / "images" / name))
        for frame in (picture, np.ascontiguousarray(picture[:, : picture.shape[1] // 2])):  # wide and narrow
            bodies = detector.detect(frame)
            assert len(bodies) == number or frame is not picture
            assert all(b.box.right <= frame.shape[1] and b.box.bottom <= frame.shape[0] for b in bodies)


class Says:
    """An engine of numbers that a test makes up; grey pictures get an innocent answer."""

    name, path, metadata = "test", Path("test.onnx"), {"names": str(COCO), "task": "detect"}
    inputs = (TensorSpec("images", "float32", (1, 3, 96, 96)),)

    def __init__(self, output: np.ndarray) -> None:
        self.output = columns(anchors=189)
        self.output[:, :4] *= 0.15
        self.outputs = (TensorSpec("output0", "float32", self.output.shape),)
        self.detector = YoloPersonDetector(self)
        self.output = output

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [self.output]

    def warm_up(self, *_: object) -> float:
        return 0.0


NUMBERS = st.one_of(st.floats(width=32), st.sampled_from([0.5, 0.9, 1.0, 1.0005, 1.1, 405.83, 30.0, 64.0, -3.0]))


@given(st.lists(st.tuples(*[NUMBERS] * 5), min_size=1, max_size=8))
def test_no_score_above_1_and_no_box_outside_ever_leaves(rows: list[tuple[float, ...]]) -> None:
    output = np.zeros((1, 84, 189), np.float32)
    output[0, :5, : len(rows)] = np.array(rows, np.float32).T
    for body in Says(output).detector.detect(np.zeros((48, 64, 3), np.uint8)):
        assert 0.5 <= body.score <= 1.0
        assert 0 <= body.box.x < body.box.right <= 64
        assert 0 <= body.box.y < body.box.bottom <= 48
