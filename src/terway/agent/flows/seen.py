"""What was seen of a connection: by a rule that logs, or by a program of the data path?

Both see the ends that policies judge: after a service's address was translated. A rule logs each
packet that it denies, and the first one of what it allows; a program tells of each packet that it
loses, and of a connection when it opens.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from terway.datapath.happening import Happened, Place, What
from terway.linux.ebpf.losses import Loss
from terway.linux.ip_header import ICMP, ICMPV6, SCTP, TCP, UDP, parse_ip_header
from terway.linux.nflog import LoggedPacket
from terway.model.address import IPAddress, IPNetwork

DENIED = "denied"  # in the prefix of the rule that logs what is dropped
BY_POLICY = frozenset(
    one.word for one in (Loss.POLICY_EGRESS, Loss.POLICY_INGRESS, Loss.UNKNOWN_FLOW)
)

_NAMES = {TCP: "TCP", UDP: "UDP", SCTP: "SCTP", ICMP: "ICMP", ICMPV6: "ICMPv6"}
_WITH_PORTS = frozenset({"TCP", "UDP", "SCTP"})
_ECHO = {"ICMP": (8, 0), "ICMPv6": (128, 129)}  # request, reply: RFC 792, 4443
_MILLISECONDS = len("2026-01-01T00:00:00.000")


class Seer(Enum):
    """Who saw it."""

    TABLE = "table"
    PROGRAM = "program"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One packet, or one connection that opened. `time` is RFC 3339, in milliseconds.

    `is_opening` is False for what was no first packet. `place` is the namespace whose table it
    was, empty for the node. `is_half`: the destination's pod, which is here, is asked later.
    One in `sample` of what is allowed is seen.
    """

    seer: Seer
    time: str
    is_allowed: bool
    source: IPAddress
    destination: IPAddress
    protocol: str
    source_port: int = 0
    port: int = 0
    icmp_type: int | None = None
    is_opening: bool = True
    interface: str = ""
    place: str = ""
    is_half: bool = False
    sample: int = 1

    @property
    def alike(self) -> tuple[object, ...]:
        """Return what it has in common with what is one record with it."""
        ends = (self.source, self.destination)
        return (self.place, self.is_allowed, *ends, self.protocol, self.port, self.icmp_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where a packet was logged: names of links by number, and what the log is sampled by."""

    link_name: Callable[[int], str]
    netns: str = ""
    sample: int = 1


def seen_by_table(packet: LoggedPacket, spot: Spot) -> Seen | None:
    """Return what a rule logged; None where that is no packet of IP."""
    header = parse_ip_header(packet.packet)
    if header is None:
        return None
    names = (spot.link_name(index) for index in (packet.in_index, packet.out_index))
    return Seen(
        seer=Seer.TABLE,
        time=time_text(packet.at_ns),
        is_allowed=DENIED not in packet.prefix,
        source=header.source,
        destination=header.destination,
        protocol=_NAMES.get(header.protocol, str(header.protocol)),
        source_port=header.source_port,
        port=header.destination_port,
        icmp_type=header.icmp_type,
        is_opening=header.is_opening,
        interface=" > ".join(name for name in names if name),
        place=spot.netns,
        sample=spot.sample,
    )


def seen_by_program(
    happened: Happened, *, sample: int, left_to_stack: Collection[IPNetwork] = ()
) -> Seen | None:
    """Return what a program told; None where that says nothing of policies.

    What is `left_to_stack` is judged by tables, behind the translation there, which tell of it.
    """
    is_allowed = happened.what is What.OPEN
    if not is_allowed and (happened.what is not What.LOSS or happened.reason not in BY_POLICY):
        return None
    source, destination = happened.source, happened.destination
    if source is None or destination is None:
        return None
    if is_allowed and _is_within(destination.address, left_to_stack):
        return None
    if happened.frontend is not None and source.address == happened.frontend.address:
        source = destination  # a pod that meets itself sees the service's address
    has_ports = happened.protocol in _WITH_PORTS
    return Seen(
        seer=Seer.PROGRAM,
        time=f"{happened.time[:_MILLISECONDS]}Z",
        is_allowed=is_allowed,
        source=source.address,
        destination=destination.address,
        protocol=happened.protocol,
        source_port=source.port if has_ports else 0,
        port=destination.port if has_ports else 0,
        icmp_type=_icmp_type(happened.protocol, source, destination),
        is_opening=happened.reason != Loss.UNKNOWN_FLOW.word,
        interface=happened.interface,
        is_half=is_allowed and destination.name not in ("", happened.pod),
        sample=sample,
    )


def _is_within(address: IPAddress, networks: Collection[IPNetwork]) -> bool:
    return any(one.version == address.version and address in one for one in networks)


def _icmp_type(protocol: str, source: Place, destination: Place) -> int | None:
    """Return an echo's type: its identifier is the port of whoever asked. Others have none."""
    if protocol not in _ECHO:
        return None
    request, reply = _ECHO[protocol]
    if source.port:
        return request
    return reply if destination.port else None


def time_text(at_ns: int) -> str:
    """Return a time in milliseconds as RFC 3339 has it."""
    at = datetime.fromtimestamp(at_ns / 1e9, tz=UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"
