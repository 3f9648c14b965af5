"""What do the data path's programs tell: how much was lost, and, while watched, what happens?

Blocking, but fast: a map call costs some microseconds. terwayd and tools open the maps by their
pins; messages are for one reader, which is terwayd.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from terway.linux.bpf import Map, map_of, open_pinned
from terway.linux.ebpf.contract import (
    EVENT,
    FLOW_TUPLE,
    LOSS_COUNT,
    LOSS_KEY,
    WATCH_FLOWS,
    WATCH_LOSSES,
    WATCHING,
    Happening,
)
from terway.linux.ebpf.losses import Loss
from terway.model.address import IPAddress, IPPair

_COUNT = struct.Struct("=Q")
_ONLY = bytes(4)  # the key of maps with one entry
_NAMES = ("losses", "watching", "untold", "events")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldMaps:
    """The maps that programs tell by."""

    losses: Map
    watching: Map
    untold: Map
    events: Map


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """How much an endpoint has lost for a reason. Endpoint 0: nobody's."""

    endpoint: int
    reason: Loss
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuple:
    """A connection as the side that opened it sends, after translation. ICMP has no ports."""

    source: IPAddress
    destination: IPAddress
    source_port: int
    destination_port: int
    protocol: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One message. `at_ns` is CLOCK_MONOTONIC; no `flow`: the packet could not be read so far."""

    at_ns: int
    happening: Happening
    reason: Loss
    endpoint: int
    ifindex: int
    bytes: int
    flow: Tuple | None
    frontend: tuple[IPAddress, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the programs are to tell. Of flows one in `one_in`; `endpoint` 0: of all.

    Of an endpoint is also what is from or to its `addresses`, wherever on the node it happens.
    """

    losses: bool
    flows: bool
    one_in: int = 1
    endpoint: int = 0
    addresses: IPPair = field(default_factory=IPPair)
    per_second: int = 2000  # at most


@contextmanager
def open_told(folder: Path) -> Iterator[ToldMaps | None]:
    """Open the maps that are pinned in `folder` for the block; None where there are none."""
    with ExitStack() as stack:
        found: dict[str, Map] = {}
        for name in _NAMES:
            fd = open_pinned(folder / name)
            if fd is None:
                break
            stack.callback(os.close, fd)
            found[name] = map_of(fd)
        yield ToldMaps(**found) if len(found) == len(_NAMES) else None


def read_losses(losses: Map) -> tuple[Lost, ...]:
    """Return what was lost so far, summed over the CPUs."""
    return tuple(_lost(key, value) for key, value in sorted(losses.items().items()))


def _lost(key: bytes, value: bytes) -> Lost:
    named = LOSS_KEY.integers(key)
    size = LOSS_COUNT.size
    counts = [LOSS_COUNT.integers(value[at : at + size]) for at in range(0, len(value), size)]
    return Lost(
        endpoint=named["endpoint"],
        reason=_reason(named["reason"]),
        packets=sum(one["packets"] for one in counts),
        bytes=sum(one["bytes"] for one in counts),
    )


def _reason(number: int) -> Loss:
    """Return the reason; one that a later program counts under is told as the kernel's."""
    return Loss(number) if number in Loss._value2member_map_ else Loss.KERNEL


def forget_losses(losses: Map, kept: Collection[int]) -> tuple[Lost, ...]:
    """Forget the losses of endpoints other than these and nobody; return what was forgotten."""
    gone = tuple(one for one in read_losses(losses) if one.endpoint not in {0, *kept})
    for one in gone:
        losses.delete(LOSS_KEY.pack(endpoint=one.endpoint, reason=one.reason))
    return gone


def watch(watching: Map, asked: Asked | None) -> None:
    """Have the programs tell what is asked; None: nothing."""
    watching.update(_ONLY, WATCHING.pack() if asked is None else _packed(asked))


def _packed(asked: Asked) -> bytes:
    wanted = ((asked.losses, WATCH_LOSSES), (asked.flows, WATCH_FLOWS))
    return WATCHING.pack(
        flags=sum(flag for is_wanted, flag in wanted if is_wanted),
        one_in=asked.one_in,
        per_second=asked.per_second,
        endpoint=asked.endpoint,
        v6=b"" if asked.addresses.v6 is None else asked.addresses.v6.packed,
        v4=b"" if asked.addresses.v4 is None else asked.addresses.v4.packed,
    )


def read_left_out(untold: Map) -> int:
    """Return how many messages there was no room for so far, on all CPUs."""
    return sum(count for (count,) in _COUNT.iter_unpack(untold.lookup(_ONLY) or b""))


def unpack_events(messages: Sequence[bytes]) -> Iterator[Event]:
    """Yield what messages of the ring say."""
    for message in messages:
        found = EVENT.unpack(message[: EVENT.size])
        numbers = {name: one for name, one in found.items() if isinstance(one, int)}
        parts = {name: one for name, one in found.items() if isinstance(one, bytes)}
        flow = FLOW_TUPLE.unpack(parts["flow"])
        family = flow["family"]
        port = int.from_bytes(parts["frontend_port"], "big")
        is_for_service = bool(port or any(parts["frontend"]))
        yield Event(
            at_ns=numbers["at_ns"],
            happening=Happening(numbers["happening"]),
            reason=_reason(numbers["reason"]),
            endpoint=numbers["endpoint"],
            ifindex=numbers["ifindex"],
            bytes=numbers["bytes"],
            flow=_tuple(flow) if family else None,
            frontend=(_address(parts["frontend"], family), port) if is_for_service else None,
        )


def _tuple(flow: dict[str, int | bytes]) -> Tuple:
    protocol = flow["protocol"]
    assert isinstance(protocol, int)
    return Tuple(
        source=_address(flow["source"], flow["family"]),
        destination=_address(flow["destination"], flow["family"]),
        source_port=_port(flow["source_port"]),
        destination_port=_port(flow["destination_port"]),
        protocol=protocol,
    )


def _port(value: int | bytes) -> int:
    return value if isinstance(value, int) else int.from_bytes(value, "big")


def _address(packed: int | bytes, family: int | bytes) -> IPAddress:
    assert isinstance(packed, bytes)
    return IPv6Address(packed) if family == 6 else IPv4Address(packed[:4])
