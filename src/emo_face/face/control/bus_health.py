"""State of the bus for diagnostics."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BusHealth:
    """What a controller knows about its bus.

    Attributes:
        connected: whether it works now. error: last error, empty while connected.
        failures: errors since the start. reconnects: successful connections after the first.
        faults: actuator -> fault it reports.
    """

    connected: bool
    error: str
    failures: int
    reconnects: int
    faults: dict[str, str]
