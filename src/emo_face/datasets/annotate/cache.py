"""Answers on disk by content hash: what was paid for once is never asked again, whenever the process was killed."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from emo_face.core.errors import UserError
from emo_face.datasets.annotate.provider import Reply
from emo_face.runtime.files import numbered_lines


class ReplyCache:
    """A folder with two journals that are only ever appended to.

    ``replies.jsonl``: an answer per line, on the disk (fsync) before anybody sees it. ``sent.jsonl``: which questions
    went out and which came back, so that after a kill it is known what is in doubt. A line that a kill cut
    off is dropped.

    Raises:
        UserError: another process writes into the folder, or a line in the middle is broken.
    """

    def __init__(self, folder: Path, known: Mapping[str, Reply] | None = None) -> None:
        """Open or start a cache; ``known`` answers of elsewhere are given, not written."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._guard = (folder / "lock").open("w")
        try:
            fcntl.flock(self._guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._guard.close()
            raise UserError(
                f"{folder}: another annotation run writes here; wait for it or choose another --cache"
            ) from None
        self._mutex = threading.Lock()
        self._open: dict[str, IO[str]] = {}
        self._replies = {**(known or {}), **dict(self._load("replies.jsonl", lambda row: Reply(**row["reply"])))}
        self._under_way = Counter[str]()
        for key, event in self._load("sent.jsonl", lambda row: row["event"]):
            self._under_way[key] += 1 if event == "sent" else -1

    def __len__(self) -> int:
        return len(self._replies)

    def get(self, key: str) -> Reply | None:
        """The answer to a question, or None."""
        return self._replies.get(key)

    @property
    def in_doubt(self) -> int:
        """Calls that were sent and neither answered nor turned down: they may have been charged for nothing.

        Those under way count too, so ask before or after a run.
        """
        return sum(count for count in self._under_way.values() if count > 0)

    def sending(self, key: str) -> None:
        """Note that a question goes out."""
        self._append("sent.jsonl", {"key": key, "event": "sent"}, sync=False)

    def turned_down(self, key: str) -> None:
        """Note that a question was certainly not answered and not charged."""
        self._append("sent.jsonl", {"key": key, "event": "turned down"}, sync=False)

    def put(self, key: str, reply: Reply) -> None:
        """Keep an answer; returns when it is on the disk."""
        self._append("replies.jsonl", {"key": key, "reply": reply.as_json()}, sync=True)
        self._append("sent.jsonl", {"key": key, "event": "answered"}, sync=False)
        self._replies[key] = reply

    def close(self) -> None:
        """Close the journals and let others write."""
        for file in self._open.values():
            file.close()
        self._open.clear()
        self._guard.close()

    def __enter__(self) -> ReplyCache:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _append(self, name: str, row: dict[str, Any], sync: bool) -> None:
        with self._mutex:
            if name not in self._open:
                self._open[name] = (self.folder / name).open("a", encoding="utf-8")
            file = self._open[name]
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            if name == "sent.jsonl":
                self._under_way[row["key"]] += 1 if row["event"] == "sent" else -1
            if sync:
                os.fsync(file.fileno())

    def _load(self, name: str, read: Callable[[dict[str, Any]], Any]) -> list[tuple[str, Any]]:
        path = self.folder / name
        if not path.is_file():
            return []
        raw = path.read_bytes()
        whole = raw.rfind(b"\n") + 1
        if whole < len(raw):
            os.truncate(path, whole)  # a kill in the middle of a line
        rows = []
        for number, line in enumerate(raw[:whole].decode("utf-8", "replace").split("\n")[:-1], 1):
            try:
                row = json.loads(line)
                rows.append((str(row["key"]), read(row)))
            except (ValueError, KeyError, TypeError):
                raise UserError(f"{path}:{number}: broken line; delete it (its row will be asked again)") from None
        return rows


def replies_of(folder: Path) -> dict[str, Reply]:
    """The answers in a folder, only read: whoever writes there may go on, and a line in the making is left out."""
    path = folder / "replies.jsonl"
    found = {}
    for _, line in numbered_lines(path) if path.is_file() else ():
        try:
            row = json.loads(line)
            found[str(row["key"])] = Reply(**row["reply"])
        except (ValueError, KeyError, TypeError):
            continue
    return found
