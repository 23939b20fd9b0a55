"""Who may take part in the graph: this host only, unless the user says otherwise; and what is read back about it.

With Fast DDS (the default of ROS 2) our local profile lets nothing but 127.0.0.1 in. `ROS_AUTOMATIC_DISCOVERY_RANGE`
alone does not: its sockets are bound to every address, and a host that names ours in ROS_STATIC_PEERS gets all
(seen with Kilted). Other middlewares get the variable, or before Iron ROS_LOCALHOST_ONLY; those were not run.
"""

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

from emo_face.ros.images.transport import NEW, OLD, use_profile

RANGE, ONLY = "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY"
USERS_CHOICE = (RANGE, ONLY, "ROS_STATIC_PEERS", "ROS_DISCOVERY_SERVER", "ROS2_EASY_MODE", NEW, OLD, "CYCLONEDDS_URI")
PROFILE = "fastdds_local.xml"


def keep_local(environment: MutableMapping[str, str]) -> bool:
    """Keep the nodes that inherit ``environment`` on this host; a user's own choice wins. Whether it was ours.

    Call it before ``rclpy.init``.
    """
    if any(environment.get(name) for name in USERS_CHOICE):
        return False
    use_profile(environment, file=PROFILE)
    if environment.get("ROS_DISTRO") == "humble":
        if not environment.get(OLD):  # the variable would part us from the host's other nodes
            environment[ONLY] = "1"
    else:
        environment[RANGE] = "LOCALHOST"
    return True


def scope(environment: Mapping[str, str]) -> str:
    """In words, who can take part in a graph with this environment."""
    profile = environment.get(NEW) or environment.get(OLD) or ""
    if Path(profile).name == PROFILE:
        return "this host only"
    if environment.get(ONLY) == "1" or environment.get(RANGE) in ("LOCALHOST", "OFF"):
        return "this host and whoever names it as a static peer"
    own = profile.endswith("/emo_face/data/fastdds.xml")
    users = [name for name in USERS_CHOICE if environment.get(name) and not (own and name in (NEW, OLD))]
    return f"as {', '.join(users)} say" if users else "every host of the network"


def listening(pid: int | str = "self") -> list[str]:
    """What a process receives on from the network, read back from Linux: ``tcp 127.0.0.1:8765``, ``udp ...:7410``.

    UDP ports are those of DDS; the others of a DDS participant only send. Empty if there is no /proc.
    """
    inodes, receiving = set(_sockets(pid)), _rtps_ports(pid)
    found = set()
    for protocol, state in (("tcp", "0A"), ("udp", "07")):
        for family in ("", "6"):
            for address, port, inode in _table(pid, f"{protocol}{family}", state):
                if inode in inodes and (protocol == "tcp" or port in receiving):
                    found.add((protocol, address, port))
    return [f"{protocol} {address}:{port}" for protocol, address, port in sorted(found)]


def open_to_others(listeners: list[str]) -> list[str]:
    """Those of :func:`listening` that are not bound to loopback."""
    return [one for one in listeners if not re.match(r"\w+ (127\.|::1:)", one)]


def _rtps_ports(pid: int | str) -> range:
    """The ports by which DDS receives in the process' domain (OMG RTPS 2.5, section 9.6.2.1)."""
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        words = []
    domain = next((word[14:] for word in words if word.startswith(b"ROS_DOMAIN_ID=")), b"0")
    first = 7400 + 250 * (int(domain) if domain.isdigit() else 0)
    return range(first, first + 250)


def _sockets(pid: int | str) -> Iterator[str]:
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return
    for name in names:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            yield target[8:-1]


def _table(pid: int | str, name: str, state: str) -> Iterator[tuple[str, int, str]]:
    """(address, port, inode) of the sockets in ``state`` (Linux, Documentation/networking/proc_net_tcp)."""
    try:
        lines = Path(f"/proc/{pid}/net/{name}").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return
    for line in lines:
        words = line.split()
        if words[3] == state:
            address, port = words[1].split(":")
            yield _address(address), int(port, 16), words[9]


def _address(text: str) -> str:
    """Address from the kernel's hexadecimal 32-bit words in the byte order of the machine (little-endian here)."""
    return str(ipaddress.ip_address(b"".join(bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8))))
