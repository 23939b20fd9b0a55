"""The command line as a whole."""

from __future__ import annotations

import subprocess
import sys


def test_a_reader_that_goes_is_no_traceback() -> None:
    command = f"{sys.executable} -m emo_face.cli.main params --table | head -1"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert ran.stdout.strip()
    assert ran.stderr == ""
