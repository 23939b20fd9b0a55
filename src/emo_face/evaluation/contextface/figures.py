"""The paper's figures 5 to 8 from a model's own answers: grids of words, pictures and the faces it makes of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.types import FloatArray, ImageArray
from emo_face.datasets.contexts.tasks import box_of, label_of_side
from emo_face.datasets.records import Record, read_image
from emo_face.evaluation.contextface.predict import ConditionPredictions, hidden, usable
from emo_face.expression.contextface import prompts
from emo_face.expression.contextface.picture import fitted
from emo_face.face.expressions.basis import OPEN_BASIS, FaceCode, open_basis
from emo_face.face.expressions.ict import load_ict
from emo_face.face.flame.model import VERSIONS, load_flame
from emo_face.face.mesh.render import render_mesh
from emo_face.face.pictures.sketch import draw_face

Paint = Callable[[FloatArray], ImageArray]
SIDE = 220
"""Pixels a side of a face or picture."""
VARIED = 3
"""Faces of one emotion in figure 6: the mildest, the middle and the strongest."""
TURNS = 96
"""Tokens of an answer."""


@dataclass
class Grid:
    """A figure: rows of cells, each of a text and perhaps a picture (BGR)."""

    title: str
    rows: list[list[tuple[str, ImageArray | None]]] = field(default_factory=list)
    note: str = ""


def painter(basis: str, head3d: Path | None, flame: Path | None) -> Paint | None:
    """What draws a model's expression outputs; None if its basis needs a FLAME file and there is none.

    FLAME coefficients are put on the head of ``flame``; ARKit activations and the open basis on the ICT head in
    ``head3d``, else drawn as a sketch. Raises ModelError if a file cannot be read or is of another version.
    """
    if basis in VERSIONS:
        if flame is None:
            return None
        head = load_flame(flame, basis)
        rest = _face_of(head.forward())
        return lambda face: render_mesh(head.forward(None, face), head.faces, (SIDE, SIDE), frame=rest)

    def arkit(face: FloatArray) -> FloatArray:
        if basis != OPEN_BASIS:
            return np.clip(face, 0.0, 1.0)
        return open_basis().decode(FaceCode(face, np.zeros(3), np.zeros(2), np.zeros(2)))

    if head3d is None:
        return lambda face: draw_face(arkit(face), (SIDE, SIDE), "human")
    ict = load_ict(head3d)
    rest = _face_of(ict.vertices)
    return lambda face: render_mesh(ict.posed(arkit(face)), ict.quads, (SIDE, SIDE), frame=rest)


def _face_of(vertices: FloatArray) -> FloatArray:
    """The vertices from the crown to the chin, which is two thirds as far from the nose's tip as the crown is."""
    nose, crown = vertices[vertices[:, 2].argmax(), 1], vertices[:, 1].max()
    return np.asarray(vertices[vertices[:, 1] > nose - 0.72 * (crown - nose)])


def emotions(said: Mapping[str, ConditionPredictions], people: Sequence[Record], paint: Paint) -> Grid:
    """Figure 5: for each emotion the face of one quote and of one situation, the ones it is surest and right about."""
    grid = Grid("Figure 5: faces from quotes and situations", note="Of each emotion the surest right answer.")
    by_id = {record.id: record for record in people}
    for number, word in enumerate(prompts.words()):
        cells: list[tuple[str, ImageArray | None]] = [(word, None)]
        for text in ("quote", "situation"):
            found = said.get(text)
            rows = _right(found, by_id, number) if found else []
            if found and rows:
                best = max(rows, key=lambda row: found.probabilities[row, number])
                cells.append((getattr(by_id[found.ids[best]], text), paint(found.map[best])))
            else:
                cells.append((f"no {text} was answered so and rightly", None))
        grid.rows.append(cells)
    return grid


def variation(said: Mapping[str, ConditionPredictions], people: Sequence[Record], paint: Paint) -> Grid:
    """Figure 6: of each emotion the mildest, a middle and the strongest face among right answers to situations."""
    grid = Grid(
        "Figure 6: variation within an emotion, by the situation", note="From the mildest face to the strongest."
    )
    by_id, found = {record.id: record for record in people}, said.get("situation")
    for number, word in enumerate(prompts.words()) if found else ():
        assert found is not None
        rows = sorted(_right(found, by_id, number), key=lambda row: float(np.linalg.norm(found.map[row])))
        if len(rows) >= VARIED:
            chosen = [rows[round(at)] for at in np.linspace(0, len(rows) - 1, VARIED)]
            told = [(by_id[found.ids[row]].situation, paint(found.map[row])) for row in chosen]
            grid.rows.append([(word, None), *told])
    return grid


def interactive(engine: Any, people: Sequence[Record], root: Path, paint: Paint, count: int) -> Grid:
    """Figure 7: a picture and its quote, the situation told, both faces; then another quote over the same picture."""
    from emo_face.expression.contextface import talk

    grid = Grid(
        "Figure 7: a situation from picture and quote, then the other person's face",
        note="The second row of each picture has the quote of somebody with another emotion.",
    )
    for record in usable(people, "image+quote")[:count]:
        image, box = read_image(root, record.image), box_of(record)
        others = [r.quote for r in people if r.quote and r.labels != record.labels]
        for quote in [record.quote, *others[:1]]:
            scene = talk.Conversation(engine, image, box)
            told = "".join(scene.tell(quote, TURNS))
            faces = (_face(engine, scene.face(side), paint, side) for side in prompts.PERSPECTIVES)
            grid.rows.append([(f"“{quote}”", _seen(image, box)), (told, None), *faces])
    return grid


def occluded(engine: Any, people: Sequence[Record], root: Path, paint: Paint, count: int) -> Grid:
    """Figure 8: the face is covered; what the model tells and shows of picture and quote."""
    from emo_face.expression.contextface import talk

    grid = Grid("Figure 8: covered faces", note="The face is painted over before the model sees the picture.")
    for record in usable(people, "image+quote")[:count]:
        image, box = hidden(read_image(root, record.image), record), box_of(record)
        scene = talk.Conversation(engine, image, box)
        told = "".join(scene.tell(record.quote, TURNS))
        truth = prompts.word_of(label_of_side(record, "speaker"))
        cells = [(f"“{record.quote}” (labelled {truth})", _seen(image, box)), (told, None)]
        grid.rows.append([*cells, _face(engine, scene.face("speaker"), paint, "speaker")])
    return grid


def write(grids: Sequence[Grid], folder: Path) -> list[dict[str, Any]]:
    """Put the pictures of grids into ``folder``; the grids as JSON, pictures by their file names.

    Raises:
        UserError: a picture cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [{"title": grid.title, "note": grid.note, "rows": _written(grid, folder)} for grid in grids]


def _written(grid: Grid, folder: Path) -> list[list[dict[str, str]]]:
    name = grid.title.partition(":")[0].lower().replace(" ", "")
    return [
        [_cell(folder, f"{name}-{number}-{place}.png", *cell) for place, cell in enumerate(row)]
        for number, row in enumerate(grid.rows)
    ]


def _cell(folder: Path, name: str, text: str, image: ImageArray | None) -> dict[str, str]:
    if image is None:
        return {"text": text}
    if not cv2.imwrite(str(folder / name), image):
        raise UserError(f"{folder / name}: cannot be written")
    return {"text": text, "image": name}


def _right(found: ConditionPredictions, by_id: Mapping[str, Record], number: int) -> list[int]:
    """Rows that were answered with an emotion and rightly."""
    word = prompts.words()[number]
    labels = [prompts.word_of(label_of_side(by_id[name], "speaker")) for name in found.ids]
    return [row for row, label in enumerate(labels) if label == word and found.guess[row] == number]


def _seen(image: ImageArray, box: Any) -> ImageArray:
    return np.ascontiguousarray(fitted(image, SIDE, box)[:, :, ::-1])


def _face(engine: Any, answer: Any, paint: Paint, side: str) -> tuple[str, ImageArray | None]:
    share = float(np.max(answer.probabilities))
    said = f"{side}: {answer.word} {share:.0%}" if answer.word else f"{side}: no answer"
    return said, paint(answer.face("map")[engine.config.slices()["expression"]])
