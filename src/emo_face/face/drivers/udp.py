"""Faces as UDP datagrams to one receiver, never waited for."""

import socket
from collections.abc import Iterable
from typing import Any

from emo_face.core.errors import ConfigError, Unavailable


class HostUnknown(ConfigError, Unavailable):
    """A name that nobody resolves now, as before the network is up."""


class UdpSender:
    """Base of what sends faces to one address.

    Args:
        receiver: what listens there, for errors.
        host, port: receiver; a name is looked up once.

    Attributes:
        dropped: faces that the system would not take. error: why it did not take the last one, or empty.

    Raises:
        ConfigError: no name of a host, or the port is out of range. HostUnknown: the name is not resolved now.
    """

    def __init__(self, receiver: str, host: str, port: int) -> None:
        try:
            if not 0 < port < 65536:
                raise OverflowError("expected a port from 1 to 65535")
            found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except socket.gaierror as error:
            raise HostUnknown(f"{receiver} {host}:{port}: {error.strerror}") from None
        except (OSError, OverflowError, UnicodeError) as error:
            raise ConfigError(f"{receiver} {host}:{port}: {error}") from None
        # `localhost` may be ::1 first, and receivers of both protocols listen on IPv4
        family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        self._address: Any = address  # its form depends on the address family
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self.dropped, self.error = 0, ""

    def _send(self, datagrams: Iterable[bytes]) -> bool:
        """Send one face; False (and counted) if the system would not take it."""
        try:
            for data in datagrams:
                self._socket.sendto(data, self._address)
        except OSError as error:
            self.dropped, self.error = self.dropped + 1, str(error)
            return False
        self.error = ""
        return True

    def close(self) -> None:
        """Release the socket."""
        self._socket.close()
