"""The line between supervisor and nodes, over a real socket pair and real processes."""

from __future__ import annotations

import os
import sys

from emo_face.ros.supervision.channel import VARIABLE, NodeEnd, Report, SupervisorEnd
from emo_face.runtime.process import Child


def pair() -> tuple[SupervisorEnd, NodeEnd]:
    up = SupervisorEnd()
    return up, NodeEnd(up.child)


def test_reports_go_up_and_requests_go_down():
    up, node = pair()
    node.tell(Report("camera", "unconfigured", "unavailable", "webcam 0:\ncannot be opened"))
    node.tell(Report("camera", "configuring"))
    assert list(up.reports()) == [
        Report("camera", "unconfigured", "unavailable", "webcam 0: cannot be opened"),
        Report("camera", "configuring"),
    ]
    assert up.ask("camera", "configure")
    assert list(node.asked()) == [("camera", "configure")]
    assert not list(up.reports())
    assert not up.closed


def test_a_side_that_does_not_read_is_not_waited_for():
    up, node = pair()
    for _ in range(2_000):
        node.tell(Report("camera", "active", "", "x" * 900))
    assert sum(1 for _ in up.reports()) < 2_000
    node.tell(Report("camera", "active"))
    assert list(up.reports())[-1] == Report("camera", "active")


def test_both_see_the_end_of_the_other():
    up, node = pair()
    up.close()
    assert not list(node.asked())
    assert node.closed
    up, node = pair()
    node.close()
    assert not list(up.reports())
    assert up.closed
    assert not up.ask("camera", "configure")


def test_nonsense_is_passed_by():
    up, node = pair()
    for packet in (b"\xff", b"[]", b'{"node": 3}', b'{"transition": "explode", "node": "camera"}'):
        up._socket.send(packet)
    assert not list(node.asked())


def test_a_process_finds_its_end_and_its_children_do_not():
    script = (
        "import os, subprocess, sys\n"
        "from emo_face.ros.supervision.channel import NodeEnd, Report, VARIABLE\n"
        "end = NodeEnd.inherited(os.environ)\n"
        "end.tell(Report('x', 'active'))\n"
        "look = 'import os, sys; sys.exit(os.path.exists(\"/proc/self/fd/%d\"))' % end._socket.fileno()\n"
        "child = [sys.executable, '-c', look]\n"
        "sys.exit(subprocess.run(child, close_fds=False).returncode or VARIABLE in os.environ)"
    )
    up = SupervisorEnd()
    number = up.child.fileno()
    child = Child([sys.executable, "-c", script], environment={VARIABLE: str(number)}, inherit=(number,))
    up.child.close()
    assert child.end(20.0) == 0
    assert list(up.reports()) == [Report("x", "active")]
    assert up.closed


def test_a_variable_that_names_no_socket_is_no_line(tmp_path):
    assert NodeEnd.inherited({}) is None
    assert NodeEnd.inherited({VARIABLE: "99999"}) is None
    assert NodeEnd.inherited({VARIABLE: "x"}) is None
    with (tmp_path / "file").open("w") as file:
        assert NodeEnd.inherited({VARIABLE: str(os.dup(file.fileno()))}) is None
