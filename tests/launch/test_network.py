"""Who sees the graph: nodes of this host with default settings do, another host does not, not even by our address.

Two hosts are two network namespaces joined by a pair of virtual cables; that needs root.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="run scripts/setup.sh")
pytest.importorskip("emo_face_msgs", reason="run scripts/setup.sh")
pytestmark = pytest.mark.ros

HOSTS = r"""
set -e
mount -t tmpfs tmpfs /dev/shm
ip link set lo up
unshare -n -i -m --propagation private bash -c 'mount -t tmpfs tmpfs /dev/shm; exec sleep 300' & OTHER=$!
trap "kill $OTHER" EXIT
until [ "$(readlink /proc/$OTHER/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
ip link add here type veth peer name there netns $OTHER
ip addr add 10.9.0.1/24 dev here; ip link set here up; ip route add default dev here
nsenter -t $OTHER -n bash -c 'ip link set lo up; ip addr add 10.9.0.2/24 dev there; ip link set there up
  ip route add default dev there'
export OTHER
"$@"
"""
# The README's listener with its default settings, which counts; prints what it saw.
LISTENER = textwrap.dedent("""
    import json, os, sys, rclpy
    from emo_face_msgs.msg import EmotionScoresArray
    rclpy.init()
    node = rclpy.create_node("listener_" + sys.argv[1])
    heard = []
    node.create_subscription(EmotionScoresArray, "/emotion/scores", heard.append, 10)
    enough, last = int(sys.argv[2]), sys.argv[3]
    while len(heard) < enough and not os.path.exists(last):
        rclpy.spin_once(node, timeout_sec=0.1)
    nodes = [n for n in node.get_node_names() if not n.startswith("listener_")]
    print(json.dumps({"who": sys.argv[1], "heard": len(heard), "nodes": nodes}), flush=True)
""")
LEASE = 4.0
"""Seconds that strangers get beyond what a friend needs: Fast DDS announces a participant every 3 s."""
SCRIPT = f"LEASE = {LEASE}" + textwrap.dedent("""
    import json, os, subprocess, sys, time
    from emo_face.bench.probes.machine import descendants
    from emo_face.ros.network import listening, open_to_others
    listener, log, last, *words = sys.argv[1:]
    plain = {k: v for k, v in os.environ.items() if not k.startswith("ROS_AUTOMATIC")}
    command = [sys.executable, "-m", "emo_face.cli.main", "up", *words]
    up = subprocess.Popen(command, stdout=open(log, "w"), stderr=subprocess.STDOUT, env=plain)
    run = [sys.executable, listener]
    elsewhere = ["nsenter", "-t", os.environ["OTHER"], "-n", "-i", "-m"]
    informed = plain | {"ROS_STATIC_PEERS": "10.9.0.1"}
    seekers = [  # from the beginning until the end
        subprocess.Popen([*run, "same_host", "3", last], env=plain),
        subprocess.Popen([*elsewhere, *run, "stranger", "3", last], env=plain),
        subprocess.Popen([*elsewhere, *run, "informed_stranger", "3", last], env=informed),
    ]
    deadline = time.monotonic() + 90
    while ("nodes active" not in open(log).read() or seekers[0].poll() is None) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(LEASE)
    open(last, "w").close()
    for seeker in seekers:
        seeker.wait()
    listens = [one for pid in descendants(up.pid) for one in listening(pid)]
    print(json.dumps({"who": "proc", "listens": listens, "open": open_to_others(listens)}), flush=True)
    up.terminate()
    up.wait(20)
""")


def two_hosts(tmp_path: Path, *words: str) -> dict[str, dict]:
    """What each listener saw of `emo-face up` with these words."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        pytest.skip("needs root, unshare, nsenter and ip: two network namespaces")
    import cv2
    import numpy as np

    cv2.imwrite(str(tmp_path / "grey.png"), np.full((48, 64, 3), 90, np.uint8))
    for name, text in (("hosts.sh", HOSTS), ("listener.py", LISTENER), ("script.py", SCRIPT)):
        (tmp_path / name).write_text(text)
    up = ["--without", "expression", "--source", str(tmp_path / "grey.png"), "--set", "face_driver.screen.port=0"]
    script = [sys.executable, *(str(tmp_path / name) for name in ("script.py", "listener.py", "up.log", "last"))]
    isolated = ["unshare", "-n", "-m", "-i", "--propagation", "private", "bash", str(tmp_path / "hosts.sh")]
    command = [*isolated, *script, *up, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    if "Operation not permitted" in done.stderr:
        pytest.skip("this root may not make network namespaces")
    seen = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(seen) == 4, done.stdout + done.stderr + (tmp_path / "up.log").read_text()
    return {one["who"]: one for one in seen}


def test_the_host_sees_all_and_a_stranger_nothing(tmp_path):
    seen = two_hosts(tmp_path)
    assert seen["same_host"]["heard"] >= 3
    for who in ("stranger", "informed_stranger"):
        assert seen[who]["heard"] == 0
        assert seen[who]["nodes"] == []
    assert any(one.startswith("udp 127.0.0.1:") for one in seen["proc"]["listens"])
    assert seen["proc"]["open"] == []


@pytest.mark.slow  # the other half: what the flag is for
def test_with_network_a_stranger_takes_part(tmp_path):
    seen = two_hosts(tmp_path, "--network")
    assert seen["stranger"]["heard"] >= 3
    assert seen["proc"]["open"]
