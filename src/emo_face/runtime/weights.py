"""Weights in files without silent gaps: what is missing, unexpected or of another shape is named and refused.

Safetensors and JSON only; nothing in a file is run. Torch is imported where it is used.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emo_face.core.errors import ModelError
from emo_face.core.paths import share_dir
from emo_face.runtime.store import open_store, sha256_of, user_cache

LOCAL: Mapping[str, Any] = {"local_files_only": True, "trust_remote_code": False}
"""For every ``from_pretrained``: never from the network, and none of a checkpoint's own code.

Left open, transformers asks on the terminal, and a "y" on stdin runs it."""


def _few(names: Iterable[str]) -> str:
    """The first names, or none."""
    first = list(names)
    return ", ".join(first[:5]) + (", ..." if len(first) > 5 else "") if first else "none"


@contextmanager
def quiet() -> Iterator[None]:
    """transformers' warnings aside: weights that are missing are refused here, and ones of no use are no news."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


@contextmanager
def loading(source: Path, name: str, fix: str = "fetch the whole checkpoint again") -> Iterator[None]:
    """Whatever goes wrong inside is a ModelError: ``source`` does not load as ``name``, why, and ``fix``."""
    try:
        with quiet():
            yield
    except Exception as error:  # what a config from outside makes transformers raise has no end
        why = " ".join(str(error).split())
        if "trust_remote_code" in why:
            why, fix = "it wants to run code of its own, which never happens here", "take one that transformers knows"
        elif "no file named model.safetensors" in why:
            why, fix = "no model.safetensors (pickles, *.bin, are not read)", "fetch a revision that has it"
        elif not isinstance(error, (OSError, ValueError, RuntimeError, ImportError)):
            why = f"{type(error).__name__}: {why}"
        raise ModelError(f"{source}: does not load as {name}: {why[:300].rstrip('.')}; {fix}") from None


def load_pretrained(kind: Any, folder: Path, name: str, dtype: Any, **options: Any) -> Any:
    """A model of transformers' class ``kind`` from safetensors in ``folder``, never from the network, to be evaluated.

    Raises:
        ModelError: it does not load as a ``name``, or weights are missing or of another shape (a part that is not in a
            checkpoint is never made up: a random frozen projector would train and never see).
    """
    safe = {"output_loading_info": True, "use_safetensors": True, "ignore_mismatched_sizes": True, **LOCAL}
    with loading(folder, name):
        model, info = kind.from_pretrained(folder, dtype=dtype, **safe, **options)
    check_loading_info(info, folder)
    return model.eval()


def check_loading_info(info: Mapping[str, Any], folder: Path) -> None:
    """Check what transformers' ``from_pretrained(..., output_loading_info=True)`` says.

    Raises:
        ModelError: weights are missing or of another shape; transformers would make them up at random.
    """
    missing, wrong = sorted(info["missing_keys"]), sorted(map(str, info.get("mismatched_keys", ())))
    if missing or wrong:
        raise ModelError(
            f"{folder}: {len(missing)} weights are missing ({_few(missing)}), {len(wrong)} have another shape "
            f"({_few(wrong)}); fetch the whole checkpoint again"
        )


def check_state_dict(own: Mapping[str, Any], state: Mapping[str, Any], path: Path) -> None:
    """Check that ``state`` has the tensors of ``own``, all of them, no others, in their shapes and finite.

    Raises:
        ModelError: names the odd ones.
    """
    import torch

    missing, unexpected = sorted(set(own) - set(state)), sorted(set(state) - set(own))
    wrong = sorted(n for n in set(own) & set(state) if own[n].shape != state[n].shape)
    if missing or unexpected or wrong:
        raise ModelError(
            f"{path}: does not fit: missing {_few(missing)}; unexpected {_few(unexpected)}; another shape {_few(wrong)}"
        )
    if bad := [name for name, value in state.items() if not bool(torch.isfinite(value).all())]:
        raise ModelError(f"{path}: {_few(bad)} hold numbers that are not finite; train again")


def read_tensors(path: Path, sha256: str = "") -> dict[str, Any]:
    """The tensors of a safetensors file. Raises ModelError: no such file, another hash, or not such a file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_file(path, sha256)
    try:
        state: dict[str, Any] = load_file(str(path))
        return state
    except SafetensorError as error:
        raise ModelError(f"{path}: is no safetensors file ({error}); copy the file again") from None


def check_file(path: Path, sha256: str = "") -> None:
    """Raises ModelError if a file is missing or, with a hash given, is another."""
    if not path.is_file():
        raise ModelError(f"{path}: no such file; copy the whole folder again")
    if sha256 and (got := sha256_of(path)) != sha256:
        raise ModelError(f"{path}: sha256 expected {sha256}, got {got}; copy the file again")


def cpu_copies(state: Mapping[str, Any]) -> dict[str, Any]:
    """Copies of tensors on the CPU, contiguous, as a file wants them."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}


def read_card(path: Path, form: str, fix: str, **fields: type) -> dict[str, Any]:
    """A folder's card, which has ``fields`` of these types. Raises ModelError naming file and field, and ``fix``."""
    if not path.parent.is_dir():
        ship = ", ".join(sorted(card.parent.name for card in (share_dir() / "models").glob(f"*/{path.name}")))
        hint = f", and no model of that name ships (there is {ship})" if ship else ""
        raise ModelError(f"{path.parent}: no such folder{hint}; {fix}")
    card = read_json(path, fix)
    if card.get("format") != form:
        raise ModelError(f"{path}: field 'format': expected {form!r}, got {card.get('format')!r}; {fix}")
    for name, kind in fields.items():
        if not isinstance(got := card.get(name), kind):
            raise ModelError(f"{path}: field {name!r}: expected {kind.__name__}, got {type(got).__name__}; {fix}")
    return card


def read_json(path: Path, fix: str) -> dict[str, Any]:
    """An object that describes a model. Raises ModelError naming the file and ``fix``."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); {fix}") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path}: expected an object, got {type(content).__name__}; {fix}")
    return content


def model_folder(named: str | Path) -> Path:
    """A trained model's folder: the path itself, else the one of that name that ships with the package."""
    path = Path(named).expanduser()
    shipped = share_dir() / "models" / path.name
    return shipped if _bare(named, path) and shipped.is_dir() else path


def backbone_folder(named: str | Path) -> Path:
    """A backbone's folder: the path itself, else what ``emo-face models backbone NAME`` left in the user cache."""
    path = Path(named).expanduser()
    return kept_backbone(path.name) if _bare(named, path) else path


def how_to_get_backbone(name: str) -> str:
    """What to do if no folder and no converted backbone is called ``name``, as a phrase for an error text."""
    known = sorted(entry.name for entry in open_store().entries.values() if entry.file.endswith(".gguf"))
    if name in known:
        return f"it was not converted yet: emo-face models backbone {name}"
    return f"correct the path, or take one that is known: emo-face models backbone {known[0]}"


def kept_backbone(name: str) -> Path:
    """Where a converted backbone of that name is kept."""
    return user_cache() / "backbones" / name


def _bare(named: str | Path, path: Path) -> bool:
    """Whether it is the name of something and no folder that is here."""
    return path.name == str(named) and not path.exists()
