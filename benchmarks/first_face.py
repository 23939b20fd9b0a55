"""How long a newcomer waits: from `git clone` to a face that moves on the page of `make demo`.

    python benchmarks/first_face.py                     this checkout's commit
    python benchmarks/first_face.py 3a67bc8 HEAD        several, one after the other
    PIP_NO_CACHE_DIR=1 python benchmarks/first_face.py  with every package downloaded

Each commit is cloned into an empty folder with an empty HOME and set up from nothing; packages come out of pip's cache
where they are in it. Prints a line for each: seconds until the page is served a live face, processor seconds of the
whole command (a film of 5 s included), load of the machine. Run it where nothing else runs, or compare two commits.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PORT = 8795


def lives(port: int) -> bool:
    """Whether the page there is served a face that a driver moves."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1) as answer:
            return bool(json.load(answer)["live"])
    except OSError:
        return False


def wait_for_face(commit: str, folder: Path) -> tuple[float, float]:
    """(seconds, processor seconds) from the clone to the first face. Raises SystemExit if `make demo` ends before."""
    home = folder / "home"
    home.mkdir()
    cache = os.environ.get("PIP_CACHE_DIR", str(Path.home() / ".cache" / "pip"))
    env = {**os.environ, "HOME": str(home), "PIP_CACHE_DIR": cache, "ROS_DOMAIN_ID": "87"}
    began = time.monotonic()
    clone = folder / "emo_face"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    subprocess.run(["git", "-C", str(clone), "checkout", "-q", commit], check=True)
    with (folder / "log").open("wb") as log:
        demo = subprocess.Popen(
            ["make", "demo", f"PORT={PORT}", "SECONDS=5"], cwd=clone, env=env, stdout=log, stderr=subprocess.STDOUT
        )
        while demo.poll() is None and not lives(PORT):
            time.sleep(0.1)
        seconds = time.monotonic() - began
        if demo.wait() != 0:
            sys.exit(f"{commit}: make demo ended with {demo.returncode}:\n{(folder / 'log').read_text()[-2000:]}")
    return seconds, os.times().children_user + os.times().children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commits", nargs="*", default=["HEAD"])
    for commit in parser.parse_args().commits:
        spent = os.times().children_user + os.times().children_system
        with tempfile.TemporaryDirectory(prefix="first_face_") as folder:
            seconds, total = wait_for_face(commit, Path(folder))
        print(
            f"{commit}: a moving face after {seconds:.0f} s; {total - spent:.0f} s of processor time in all; "
            f"load {os.getloadavg()[0]:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
