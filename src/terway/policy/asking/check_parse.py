"""What must be reached, and what must not? The form of a file of expectations.

    must-reach:
      - from: shop/web-*                  # NAMESPACE/POD; * is any text
        to: {namespace: shop, podSelector: {matchLabels: {app: db}}}
        ports: [TCP/5432, UDP/53, TCP/8000-8100, TCP, ICMP]
        why: orders are kept there        # for people
    must-not-reach:
      - {from: outside, to: shop/*}       # without ports: on none at all
      - {from: "ip:10.0.0.0/8", to: "node:*", may-be-empty: true}

Every one of `from` must reach every one of `to` on every port, or none of them on any. Nobody meant
is a failure, too, unless it may be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from terway.policy.asking.check_ends import Whom, parse_whom
from terway.policy.cluster import Protocol
from terway.policy.ports import EVERY_PORT, LAST_PORT, PortSet, ports_of, union
from terway.policy.reading.parse_fields import Table, refusal, table_of

REACH, NOT_REACH = "must-reach", "must-not-reach"
_PORT_FORMS = "write TCP/80, UDP/53, SCTP/1000-2000, TCP (all its ports), ICMP or all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """Something that must be so. `place` is where it is written, `text` how."""

    must_reach: bool
    source: Whom
    destination: Whom
    ports: PortSet
    may_be_empty: bool = False
    why: str = ""
    place: str = ""
    text: str = ""


def parse_expectations(raw: object) -> tuple[Expectation, ...]:
    """Return the expectations of a file. Raises UsageError with the path of what is wrong."""
    table = table_of(raw, "")
    table.refuse_unknown(REACH, NOT_REACH)
    found = (*_list(table, REACH), *_list(table, NOT_REACH))
    if not found:
        raise refusal("the file", raw, f"write {REACH} or {NOT_REACH}, each a list")
    return found


def _list(table: Table, field: str) -> Iterator[Expectation]:
    for entry in table.tables(field):
        entry.refuse_unknown("from", "to", "ports", "why", "may-be-empty")
        must_reach = field == REACH
        yield Expectation(
            must_reach=must_reach,
            source=parse_whom(entry.values.get("from"), entry.at("from")),
            destination=parse_whom(entry.values.get("to"), entry.at("to")),
            ports=_ports(entry, must_reach=must_reach),
            may_be_empty=bool(entry.values.get("may-be-empty")),
            why=entry.text("why"),
            place=entry.path,
            text=f"{entry.values.get('from')} to {entry.values.get('to')}",
        )


def _ports(entry: Table, *, must_reach: bool) -> PortSet:
    if entry.values.get("ports") == "all":
        return EVERY_PORT
    if not entry.has("ports"):
        if must_reach:
            raise refusal(entry.at("ports"), None, f"say on which; {_PORT_FORMS}")
        return EVERY_PORT
    return union(parse_ports(text, path) for path, text in entry.items("ports"))


def parse_ports(text: object, path: str) -> PortSet:
    """Return the ports in `TCP/80`, `UDP/1000-2000`, `TCP` or `ICMP`. Raises UsageError."""
    name, slash, numbers = str(text).partition("/")
    protocol = Protocol.OTHER if name.upper() == "ICMP" else Protocol.__members__.get(name.upper())
    if protocol is None or (slash and protocol is Protocol.OTHER):
        raise refusal(path, text, _PORT_FORMS)
    if not slash:
        return ports_of(protocol, 0, LAST_PORT)
    first, dash, last = numbers.partition("-")
    ends = [first, last if dash else first]
    if not all(end.isdecimal() and int(end) <= LAST_PORT for end in ends):
        raise refusal(path, text, _PORT_FORMS)
    if int(ends[0]) > int(ends[1]):
        raise refusal(path, text, "write the smaller port first")
    return ports_of(protocol, int(ends[0]), int(ends[1]))
