"""Download a model on request: https only, into a temporary file, checked, then moved into place."""

import hashlib
import os
import ssl
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO

from emo_face.core.errors import ModelError
from emo_face.runtime.store import ModelEntry, fix

Progress = Callable[[int, int], None]
"""Called with (bytes so far, bytes in all)."""


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Refuse a redirect that leaves https."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.startswith("https://"):
            raise ModelError(f"{req.full_url} redirects to {newurl}, which is not https; download refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def pull(
    entry: ModelEntry,
    folder: Path,
    progress: Progress | None = None,
    context: ssl.SSLContext | None = None,
    timeout: float = 30.0,
) -> Path:
    """Download ``entry`` into ``folder`` and return the file's path; nothing is left behind on failure.

    Args:
        context: TLS settings, for a site with its own certificate authority.
        timeout: seconds without a byte before it gives up.

    Raises:
        ModelError: no https url, network failure, wrong size or wrong hash.
    """
    if entry.url is None:
        raise ModelError(f"model {entry.name!r} has no public file to download; {fix(entry)}")
    if not entry.url.startswith("https://"):
        raise ModelError(f"model {entry.name!r}: url {entry.url} is not https; download refused")
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{entry.file}.{os.getpid()}.part"
    opener = urllib.request.build_opener(_HttpsOnly(), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(entry.url, timeout=timeout) as source, partial.open("wb") as sink:
            got = _copy(source, sink, entry, progress)
        if got != entry.sha256:
            raise ModelError(
                f"model {entry.name!r}: {entry.url} sent the wrong bytes: sha256 expected {entry.sha256}, got {got}; "
                "nothing was kept. Try again, or report it: the file upstream may have changed"
            )
        target = folder / entry.file
        partial.replace(target)
        return target
    except (OSError, HTTPException) as error:
        raise ModelError(
            f"model {entry.name!r}: download of {entry.url} failed: {error}; try again, or take a machine with network "
            "and carry the file over by `emo-face models bundle`"
        ) from None
    finally:
        partial.unlink(missing_ok=True)


def _copy(source: IO[bytes], sink: IO[bytes], entry: ModelEntry, progress: Progress | None) -> str:
    digest, done = hashlib.sha256(), 0
    while chunk := source.read(1 << 16):
        done += len(chunk)
        if done > entry.size:
            raise ModelError(f"model {entry.name!r}: {entry.url} sends more than {entry.size} bytes; stopped")
        digest.update(chunk)
        sink.write(chunk)
        if progress is not None:
            progress(done, entry.size)
    if done < entry.size:
        raise ModelError(f"model {entry.name!r}: {entry.url} ended after {done} of {entry.size} bytes; try again")
    return digest.hexdigest()
