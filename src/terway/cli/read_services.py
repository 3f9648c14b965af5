"""What has the kernel of a service's address and port: its frontend, its sets, its backends?"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from terway.cli.snapshot_ebpf import BackendView, ChoiceView, FrontendView
from terway.linux.bpf import Map
from terway.linux.ebpf.contract import (
    BACKEND,
    BACKEND_SET,
    BACKEND_TERMINATING,
    CHOICE,
    FLOW_TUPLE,
    FRONTEND,
    FRONTEND_AFFINITY,
    FRONTEND_KEY,
    FRONTEND_SOURCE_RANGES,
    LOCAL_NODE,
    SET_INLINE,
    SOURCE_RANGE,
    SOURCE_RANGE_BEFORE,
)
from terway.linux.ebpf.entries import pack_address_of, pack_number
from terway.model.address import IPAddress

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132}
_NEEDED = ("frontends", "sets", "slots", "backends", "choices", "source_ranges")
_NUMBER = struct.Struct("=I")
_NODE = pack_number(LOCAL_NODE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendQuestion:
    """An address and port that may be a service's, and the pod that asks, if it is one."""

    address: IPAddress
    port: int
    protocol: str
    source: IPAddress | None = None


def read_frontends(
    maps: Mapping[str, Map], questions: Iterable[FrontendQuestion]
) -> Iterator[FrontendView]:
    """Yield what there is of each; nothing where the data path does no services."""
    if not all(name in maps for name in _NEEDED):
        return
    for asked in questions:
        value = _find(maps, asked)
        if value is None:
            yield FrontendView(address=asked.address, port=asked.port, protocol=asked.protocol)
        else:
            yield _frontend(maps, asked, FRONTEND.integers(value))


def _find(maps: Mapping[str, Map], asked: FrontendQuestion) -> bytes | None:
    """Return a frontend as the programs find it: by address, or as any of this node's."""
    found = maps["frontends"].lookup(_key(asked, asked.address.packed))
    if found is None and maps["locals"].lookup(pack_address_of(asked.address)) == _NODE:
        found = maps["frontends"].lookup(_key(asked, b""))
    return found


def _key(asked: FrontendQuestion, packed: bytes) -> bytes:
    return FRONTEND_KEY.pack(
        address=packed,
        port=asked.port.to_bytes(2, "big"),
        protocol=PROTOCOLS[asked.protocol],
        family=asked.address.version,
    )


def _frontend(
    maps: Mapping[str, Map], asked: FrontendQuestion, found: Mapping[str, int]
) -> FrontendView:
    return FrontendView(
        address=asked.address,
        port=asked.port,
        protocol=asked.protocol,
        is_known=True,
        has_affinity=bool(found["flags"] & FRONTEND_AFFINITY),
        has_source_ranges=bool(found["flags"] & FRONTEND_SOURCE_RANGES),
        is_in_ranges=_may_ask(maps, asked, found),
        backends=tuple(_backends(maps, found["inside"])),
        outside=tuple(_backends(maps, found["outside"])),
        choices=tuple(_choices(maps, asked)),
    )


def _may_ask(maps: Mapping[str, Map], asked: FrontendQuestion, found: Mapping[str, int]) -> bool:
    """Return what the programs' `may_ask` says of the pod that asks."""
    if asked.source is None or not found["flags"] & FRONTEND_SOURCE_RANGES:
        return True
    key = SOURCE_RANGE.pack(
        prefixlen=SOURCE_RANGE_BEFORE + 128,
        service=found["service"],
        family=asked.source.version,
        address=asked.source.packed,
    )
    return maps["source_ranges"].lookup(key) is not None


def _backends(maps: Mapping[str, Map], number: int) -> Iterator[BackendView]:
    for backend in _members(maps, number):
        value = maps["backends"].lookup(pack_number(backend))
        if value is not None:
            yield _backend(backend, value)


def _members(maps: Mapping[str, Map], number: int) -> tuple[int, ...]:
    """Return the backends of a set: those in it, or those of its table."""
    value = maps["sets"].lookup(pack_number(number)) if number else None
    if value is None:
        return ()
    found = BACKEND_SET.unpack(value)
    count, table, size, inline = (found[name] for name in ("count", "table", "size", "backend"))
    assert isinstance(count, int)  # the layout says so
    assert isinstance(table, int)
    assert isinstance(size, int)
    assert isinstance(inline, bytes)
    if count <= SET_INLINE:
        return tuple(one for (one,) in _NUMBER.iter_unpack(inline))[:count]
    slots = (maps["slots"].lookup(pack_number(table + place)) for place in range(size))
    return tuple(sorted({_NUMBER.unpack(one)[0] for one in slots if one is not None}))


def _backend(number: int, value: bytes) -> BackendView:
    found = BACKEND.unpack(value)
    flags, family = found["flags"], found["family"]
    assert isinstance(flags, int)  # the layout says so
    return BackendView(
        number=number,
        address=_address(found["address"], family),
        port=_port(found["port"]),
        is_terminating=bool(flags & BACKEND_TERMINATING),
    )


def _choices(maps: Mapping[str, Map], asked: FrontendQuestion) -> Iterator[ChoiceView]:
    """Yield the connections that the pod that asks has to the frontend."""
    if asked.source is None:
        return
    target = asked.address.packed.ljust(16, b"\0")
    sender = asked.source.packed.ljust(16, b"\0")
    port = asked.port.to_bytes(2, "big")
    for key, value in maps["choices"].items().items():
        if key[:32] != sender + target:
            continue
        sent = FLOW_TUPLE.unpack(key)
        if (sent["destination_port"], sent["protocol"]) != (port, PROTOCOLS[asked.protocol]):
            continue
        backend = CHOICE.integers(value)["backend"]
        yield ChoiceView(
            source=asked.source,
            source_port=_port(sent["source_port"]),
            backend=backend,
            is_there=maps["backends"].lookup(pack_number(backend)) is not None,
        )


def _port(value: int | bytes) -> int:
    return value if isinstance(value, int) else int.from_bytes(value, "big")


def _address(packed: int | bytes, family: int | bytes) -> IPAddress:
    assert isinstance(packed, bytes)  # the layout says so
    return IPv6Address(packed) if family == 6 else IPv4Address(packed[:4])
