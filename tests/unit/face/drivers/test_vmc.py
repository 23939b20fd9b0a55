"""VMC packets as python-osc, another implementation of OSC 1.0, reads them."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from emo_face.core.arkit import ARKIT_INDEX
from emo_face.core.errors import ConfigError, Unavailable
from emo_face.face.drivers.vmc import LARGEST, VmcSender, datagrams, expressions_of

osc = pytest.importorskip("pythonosc.osc_bundle", reason="run scripts/setup.sh test")


def face(**channels: float) -> np.ndarray:
    values = np.zeros(52)
    for name, value in channels.items():
        values[ARKIT_INDEX[name]] = value
    return values


def messages(packets: list[bytes]) -> list[tuple[str, list[object]]]:
    return [(part.address, part.params) for data in packets for part in osc.OscBundle(data)]


def test_every_expression_is_told_and_then_applied() -> None:
    packets = datagrams(face(jawOpen=0.25, browInnerUp=1.0, eyeBlinkLeft=0.5), 12.5)
    assert max(map(len, packets)) <= LARGEST
    assert all(len(data) % 4 == 0 for data in packets)
    told = messages(packets)
    values = {params[0]: params[1] for address, params in told if address == "/VMC/Ext/Blend/Val"}
    assert len(values) == 52 + 7
    assert values["JawOpen"] == values["A"] == pytest.approx(0.25)
    assert values["BrowInnerUp"] == 1.0
    assert values["Blink_L"] == values["EyeBlinkLeft"] == 0.5
    assert values["Blink_R"] == 0.0
    assert told[-3:] == [("/VMC/Ext/Blend/Apply", []), ("/VMC/Ext/OK", [1]), ("/VMC/Ext/T", [12.5])]


def test_values_stay_in_range_whatever_comes() -> None:
    values = expressions_of(face(jawOpen=7.0, mouthSmileLeft=np.nan, mouthSmileRight=1.0, browDownLeft=-np.inf))
    assert values["JawOpen"] == 1.0
    assert values["Joy"] == 0.5
    assert set(map(type, values.values())) == {float}
    assert min(values.values()) == 0.0


def test_a_receiver_gets_a_face_over_a_real_socket() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10.0)
        sender = VmcSender(port=receiver.getsockname()[1])
        assert sender.send(face(jawOpen=1.0), 1.0)
        packets = [receiver.recv(4096) for _ in datagrams(face(), 1.0)]
        assert ("/VMC/Ext/Blend/Val", ["JawOpen", 1.0]) in messages(packets)
        sender.close()
    assert not sender.send(face(), 2.0)
    assert sender.dropped == 1
    assert sender.error


def test_bad_receivers_are_named() -> None:
    with pytest.raises(ConfigError, match="VMC receiver no such host:39539"):
        VmcSender("no such host")
    with pytest.raises(ConfigError, match="port from 1 to 65535"):
        VmcSender(port=0)


def test_a_name_is_looked_up_as_ipv4_first_and_later_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """glibc gives ::1 first for `localhost` where /etc/hosts has both; VMC's receivers bind 0.0.0.0."""
    sixth = (socket.AF_INET6, socket.SOCK_DGRAM, 17, "", ("::1", 39539, 0, 0))
    fourth = (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", 39539))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [sixth, fourth])
    sender = VmcSender("localhost")
    assert sender._address == ("127.0.0.1", 39539)
    sender.close()
    monkeypatch.undo()
    with pytest.raises(Unavailable, match=r"no such host:39539"):  # the manager waits for it
        VmcSender("no such host")
