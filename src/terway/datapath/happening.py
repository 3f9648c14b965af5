"""What happened to a packet or a connection in the data path, as a record of `terway-cli monitor`.

One record is one line of JSON (`line_of`, `read_line`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address
from typing import Any

from terway.model.address import IPAddress
from terway.model.errors import UsageError

_PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP"}


class What(Enum):
    """What happened."""

    LOSS = "loss"
    OPEN = "open"
    CLOSE = "close"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An end of a connection; `name` is whose the address is, where that is known."""

    address: IPAddress
    port: int = 0
    name: str = ""

    def __str__(self) -> str:
        name = self.name or (f"[{self.address}]" if self.is_bracketed else str(self.address))
        return f"{name}:{self.port}" if self.port else name

    @property
    def is_bracketed(self) -> bool:
        """Return whether it is an IPv6 address with a port, and so needs brackets."""
        return self.address.version == 6 and bool(self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """One thing that happened. `time` is RFC 3339; `pod` is at whose link, empty: no pod's.

    `reason` and `meaning` are of losses. No source and destination: the packet could not be read.
    `frontend` is the service's address that the client talks to.
    """

    time: str
    node: str
    what: What
    pod: str = ""
    interface: str = ""
    reason: str = ""
    meaning: str = ""
    protocol: str = ""
    source: Place | None = None
    destination: Place | None = None
    frontend: Place | None = None
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What a stream says of itself: so many things happened that it does not tell, or a text."""

    time: str
    node: str
    count: int = 0
    text: str = ""


Line = Happened | LeftOut


def protocol_word(number: int) -> str:
    """Return a protocol's name, or its number."""
    return _PROTOCOLS.get(number, str(number))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which records somebody wants. An empty `pod`, "NAMESPACE/NAME": of all."""

    losses: bool = True
    flows: bool = True
    pod: str = ""

    def matches(self, happened: Happened) -> bool:
        """Return whether a record is wanted."""
        of_kind = self.losses if happened.what is What.LOSS else self.flows
        return of_kind and (not self.pod or self.pod in _pods(happened))


def _pods(happened: Happened) -> set[str]:
    ends = (happened.source, happened.destination)
    return {happened.pod, *(one.name for one in ends if one is not None)}


def line_of(line: Line) -> str:
    """Return one line of JSON, without its end. What is empty is left out."""
    raw = _raw(line) if isinstance(line, Happened) else _raw_left_out(line)
    filled = {name: value for name, value in raw.items() if value}
    return json.dumps(filled, ensure_ascii=False, separators=(",", ":"))


def _raw(happened: Happened) -> dict[str, Any]:
    return {
        "time": happened.time,
        "node": happened.node,
        "what": happened.what.value,
        "reason": happened.reason,
        "meaning": happened.meaning,
        "pod": happened.pod,
        "interface": happened.interface,
        "protocol": happened.protocol,
        "source": _raw_place(happened.source),
        "destination": _raw_place(happened.destination),
        "frontend": _raw_place(happened.frontend),
        "bytes": happened.bytes,
    }


def _raw_place(place: Place | None) -> dict[str, Any]:
    if place is None:
        return {}
    raw = {"address": str(place.address), "port": place.port, "name": place.name}
    return {name: value for name, value in raw.items() if value}


def _raw_left_out(line: LeftOut) -> dict[str, Any]:
    return {"time": line.time, "node": line.node, "left_out": line.count, "text": line.text}


def read_line(text: str, *, where: str = "record") -> Line:
    """Return what a line says; unknown fields are passed over. UsageError names `where`."""
    try:
        raw = json.loads(text)
        return _read(raw) if "what" in raw else _read_left_out(raw)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"has no field {error}" if isinstance(error, KeyError) else str(error)
        message = f"{where} is no record of terway-cli monitor: {why}"
        raise UsageError(message, field=where) from error


def _read(raw: Mapping[str, Any]) -> Happened:
    return Happened(
        time=str(raw["time"]),
        node=str(raw.get("node", "")),
        what=What(raw["what"]),
        pod=str(raw.get("pod", "")),
        interface=str(raw.get("interface", "")),
        reason=str(raw.get("reason", "")),
        meaning=str(raw.get("meaning", "")),
        protocol=str(raw.get("protocol", "")),
        source=_read_place(raw.get("source")),
        destination=_read_place(raw.get("destination")),
        frontend=_read_place(raw.get("frontend")),
        bytes=int(raw.get("bytes", 0)),
    )


def _read_place(raw: Mapping[str, Any] | None) -> Place | None:
    if raw is None:
        return None
    return Place(
        address=ip_address(raw["address"]),
        port=int(raw.get("port", 0)),
        name=str(raw.get("name", "")),
    )


def _read_left_out(raw: Mapping[str, Any]) -> LeftOut:
    return LeftOut(
        time=str(raw["time"]),
        node=str(raw.get("node", "")),
        count=int(raw.get("left_out", 0)),
        text=str(raw.get("text", "")),
    )
