"""The manifest beside exported graphs: which bytes belong together, how to read their scores."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_face.core.configs import from_dict
from emo_face.core.errors import ModelError
from emo_face.perception.multiview import head_file
from emo_face.perception.multiview.config import EncoderConfig, to_dict
from emo_face.perception.multiview.head_file import HeadCard
from emo_face.runtime.files import write_json
from emo_face.runtime.store import sha256_of
from emo_face.runtime.weights import read_json

FORMAT = "emo_face.multiview.export/1"
FILE = "export.json"


@dataclass(frozen=True)
class ExportManifest:
    """What :func:`read` checked. ``hashes``: graph name -> file name -> sha256, weights beside the graph included."""

    folder: Path
    encoder: EncoderConfig
    head: HeadCard
    hashes: dict[str, dict[str, str]]
    details: dict[str, Any]

    def files(self, graph: str) -> list[Path]:
        """The files of one graph."""
        return [self.folder / name for name in self.hashes[graph]]


def write(folder: Path, encoder: EncoderConfig, head: HeadCard, details: dict[str, Any]) -> Path:
    """Hash ``encoder.onnx``, ``head.onnx`` and their ``.data`` and write the manifest."""
    hashes = {
        graph: {path.name: sha256_of(path) for path in sorted(folder.glob(f"{graph}.onnx*")) if path.is_file()}
        for graph in ("encoder", "head")
    }
    content = {
        "format": FORMAT,
        "files": hashes,
        "encoder": to_dict(encoder),
        "head": head_file.to_json(head),
        "details": details,
    }
    path = folder / FILE
    write_json(path, content)
    return path


def read(folder: Path) -> ExportManifest:
    """Check every file against the manifest. Raises ModelError naming the file, expected and got."""
    path = folder / FILE
    content = read_json(path, "export again: emo-face export multiview --help")
    if content.get("format") != FORMAT:
        raise ModelError(f"{path}: field 'format': expected {FORMAT!r}, got {content.get('format')!r}")
    for graph in ("encoder", "head"):
        if f"{graph}.onnx" not in content["files"].get(graph, {}):
            raise ModelError(f"{path}: field 'files': {graph}.onnx is missing; export again")
        for name, expected in content["files"][graph].items():
            if name != Path(name).name:
                raise ModelError(f"{path}: field 'files': {name!r} is not a plain file name")
            file = folder / name
            got = sha256_of(file) if file.is_file() else "no file"
            if got != expected:
                raise ModelError(f"{file}: sha256 expected {expected}, got {got}; copy the whole folder again")
    encoder = from_dict(EncoderConfig, content["encoder"], f"{path}: encoder")
    head = head_file.from_json(content["head"], f"{path}: head")
    return ExportManifest(folder, encoder, head, content["files"], content.get("details", {}))
