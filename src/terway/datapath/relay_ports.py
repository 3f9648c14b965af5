"""Must the node's own sockets be kept from the ports that relayed connections have, and how?

Who asks from outside for a backend elsewhere is relayed with the node's address and one of these
ports (bpf/relay.h). The kernel gives sockets that ask for no port one of ip_local_port_range. Where
the two overlap, the ports are reserved: only a socket that asks for one by number has it then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from terway.model.network import Sysctl

FIRST, LAST = 13616, 29999  # RELAY_PORT_FIRST, and RELAY_PORTS of them

RANGE = "net/ipv4/ip_local_port_range"
RESERVED = "net/ipv4/ip_local_reserved_ports"


def plan_reserved(local_range: str, reserved: str) -> Sysctl | None:
    """Return the setting that is missing; None where nothing is.

    Both are the values as the kernel shows them. What others have reserved stays so.
    """
    first, last = map(int, local_range.split())
    if last < FIRST or first > LAST:
        return None
    held = _numbers(reserved)
    wanted = held | set(range(max(first, FIRST), min(last, LAST) + 1))
    if wanted == held:
        return None
    return Sysctl(path=RESERVED, value=",".join(_spelled(wanted)))


def _numbers(text: str) -> set[int]:
    """Read what the kernel shows: ``8080,9000-9010``, or nothing."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first:
            found.update(range(int(first), int(last or first) + 1))
    return found


def _spelled(numbers: Iterable[int]) -> Iterator[str]:
    start = previous = -2
    for number in (*sorted(numbers), -2):
        if number == previous + 1:
            previous = number
            continue
        if start >= 0:
            yield f"{start}-{previous}" if previous > start else str(start)
        start = previous = number
