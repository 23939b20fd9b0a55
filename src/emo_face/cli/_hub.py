"""`emo-face models push|pull hf://owner/name`: folders of the Hugging Face hub; nothing else ever goes there."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emo_face.core.arguments import option
from emo_face.core.errors import UserError
from emo_face.perception.multiview import card
from emo_face.runtime.files import write_json

SCHEME = "hf://"
SOURCE = "source.json"
"""Beside what was pulled: repository and commit."""


PUSH = (
    option("address", metavar="hf://OWNER/NAME"),
    option("--folder", type=Path, required=True, help="folder written by `emo-face train multiview` or its export"),
    option("--licence", required=True, help="SPDX name in lower case (apache-2.0), or other"),
    option("--data", required=True, metavar="NAME", help="training data to name in the card, for example EMOTIC"),
    option("--public", action="store_true", help="make it public (default: private)"),
    option("--dry-run", action="store_true", help="write and print the card, send nothing"),
)


def push(args: argparse.Namespace) -> int:
    """Check the folder, write its card, send both. Raises UserError or ModelError before anything is sent."""
    repository = repository_of(args.address)
    path = card.write(args.folder, repository, args.licence, args.data)
    if args.dry_run:
        print(path.read_text(encoding="utf-8"))
        return 0
    with _asking(_hub(), args.address) as api:
        api.create_repo(repository, private=not args.public, exist_ok=True)
        sent = api.upload_folder(
            repo_id=repository,
            folder_path=args.folder,
            allow_patterns=list(card.FILES),
            commit_message="Model of emo_face",
        )
    print(f"{args.address}: commit {sent.oid}, {'public' if args.public else 'private'}")
    return 0


def pull(address: str, to: Path | None, revision: str | None) -> int:
    """Fetch a folder and check every file against its own cards. Raises UserError or ModelError."""
    repository = repository_of(address)
    if to is None:
        raise UserError(f"{address}: needs --to, the folder to fetch it into")
    if to.is_dir() and any(to.iterdir()) and not (to / SOURCE).is_file():
        raise UserError(f"--to {to}: holds other files; name an empty folder or one that was pulled before")
    with _asking(_hub(), address) as api:
        commit = api.model_info(repository, revision=revision).sha
        api.snapshot_download(repository, revision=commit, local_dir=to, allow_patterns=list(card.FILES))
    found = card.described(to)
    write_json(to / SOURCE, {"repository": repository, "commit": commit})
    kind = "exported" if found.exported else "trained; it runs on its checkpoint, --base"
    print(f"{to}: {found.encoder.kind}, {found.head.fusion.label_set}, {kind} (commit {commit})")
    return 0


def is_address(name: str) -> bool:
    """Whether a name means the hub."""
    return name.startswith(SCHEME)


def repository_of(address: str) -> str:
    """``owner/name`` of an address. Raises UserError for another form."""
    owner, slash, name = address.removeprefix(SCHEME).partition("/")
    if not is_address(address) or not slash or not owner or not name or "/" in name:
        raise UserError(f"{address}: expected {SCHEME}OWNER/NAME")
    return f"{owner}/{name}"


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise UserError("the Hugging Face hub needs huggingface_hub: scripts/setup.sh hub") from None
    return huggingface_hub


@contextmanager
def _asking(hub: Any, address: str) -> Iterator[Any]:
    """The hub's client; what the hub refuses becomes one line."""
    print(f"{address}: asking the hub", file=sys.stderr)
    errors = hub.errors
    try:
        yield hub.HfApi()
    except (
        errors.HfHubHTTPError,
        errors.HFValidationError,
        errors.LocalTokenNotFoundError,
        errors.OfflineModeIsEnabled,
        OSError,
    ) as error:
        said = " ".join(str(error).split())[:300]
        raise UserError(f"{address}: {said}; log in by `hf auth login` if it is private") from None
