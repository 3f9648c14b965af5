"""From what the fabric should be and what it is, to what to do. Pure.

Links first: a port's ifindex is known only once its link is there. Then the maps, in an order in
which no packet finds half of a change: rule lists before the ports that name them, entries that
go after entries that come.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b

from terway.lab.vpc.contract import pack_u32, port_number
from terway.lab.vpc.state import Port
from terway.lab.vpc.tables import Entries, Tables
from terway.model.ids import ENIId, InstanceId, MacAddress
from terway.model.network import Link

_NAME_PREFIX = "e"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plug:
    """Create the veth of an ENI: `name` in the fabric, `ifname` in the instance."""

    eni_id: ENIId
    instance_id: InstanceId
    name: str
    ifname: str
    mac: MacAddress
    mtu_bytes: int
    alias: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplug:
    """Delete a veth by the name of its fabric end."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkPlan:
    """What to do with links. `replaced` goes before `plugs`, `gone` after the maps are written."""

    replaced: tuple[Unplug, ...] = ()
    plugs: tuple[Plug, ...] = ()
    gone: tuple[Unplug, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PutEntry:
    """Write an entry of a map."""

    table: str
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteEntry:
    """Delete an entry of a map; that it is not there is success."""

    table: str
    key: bytes


MapOperation = PutEntry | DeleteEntry


def fabric_name(eni_id: ENIId) -> str:
    """Return the name of an ENI's link in the fabric: ids are longer than link names may be."""
    return _NAME_PREFIX + blake2b(eni_id.encode(), digest_size=6).hexdigest()


def _plug(port: Port) -> Plug:
    return Plug(
        eni_id=port.eni_id,
        instance_id=port.instance_id,
        name=fabric_name(port.eni_id),
        ifname=port.ifname,
        mac=port.mac,
        mtu_bytes=port.mtu_bytes,
        alias=f"{port.eni_id} {port.instance_id} {port.ifname} {port.mac}",
    )


def plan_links(
    ports: Iterable[Port], instances: Iterable[InstanceId], actual: Iterable[Link]
) -> LinkPlan:
    """Return how to get from the links that are there to one for each port that is no member.

    Ports of instances that are not bound wait. A link whose alias tells another story than its
    port (moved to another instance, renamed, half made when a process died) is replaced; one
    that its instance has renamed or moved is the instance's own business and stays.
    """
    bound = set(instances)
    linked = (port for port in ports if port.trunk_id is None)
    wanted = {plug.name: plug for plug in map(_plug, linked) if plug.instance_id in bound}
    there = {link.name: link for link in actual if is_port_link(link)}
    fits = {name for name, plug in wanted.items() if _alias_of(there, name) == plug.alias}
    return LinkPlan(
        replaced=tuple(Unplug(name=n) for n in sorted(there.keys() & wanted.keys() - fits)),
        plugs=tuple(wanted[name] for name in sorted(wanted.keys() - fits)),
        gone=tuple(Unplug(name=n) for n in sorted(there.keys() - wanted.keys())),
    )


def is_port_link(link: Link) -> bool:
    """Return whether a link of the fabric's namespace is the end of an ENI's veth."""
    return link.kind == "veth" and link.name.startswith(_NAME_PREFIX)


def _alias_of(links: Mapping[str, Link], name: str) -> str | None:
    return links[name].alias if name in links else None


def port_numbers(ports: Iterable[Port], actual: Iterable[Link]) -> Mapping[ENIId, int]:
    """Return the number of each port that has its link, or whose trunk has it."""
    by_alias = {link.alias: link.ifindex for link in actual if is_port_link(link)}
    plugs = {port: _plug(port) for port in ports}
    links = {
        port.eni_id: by_alias[plug.alias] for port, plug in plugs.items() if plug.alias in by_alias
    }
    carried = ((port, links.get(port.trunk_id or port.eni_id)) for port in plugs)
    return {
        port.eni_id: port_number(ifindex, port.vlan_id)
        for port, ifindex in carried
        if ifindex is not None
    }


_ORDER = ("rule_lists", "ports", "routes", "access_lists", "listeners", "addresses")


def plan_tables(desired: Tables, actual: Tables) -> tuple[MapOperation, ...]:
    """Return the operations that turn `actual` into `desired`.

    Rule lists are compared by key alone: the key is a digest of the content.
    """
    puts = [one for table in _ORDER for one in _puts(table, desired, actual)]
    deletes = [one for table in reversed(_ORDER) for one in _deletes(table, desired, actual)]
    return (*puts, *deletes)


def _entries(tables: Tables, table: str) -> Entries:
    entries: Entries = getattr(tables, table)
    return entries


def _puts(table: str, desired: Tables, actual: Tables) -> Iterable[PutEntry]:
    want, have = _entries(desired, table), _entries(actual, table)
    for key in sorted(want):
        is_same = key in have if table == "rule_lists" else have.get(key) == want[key]
        if not is_same:
            yield PutEntry(table=table, key=key, value=want[key])


def _deletes(table: str, desired: Tables, actual: Tables) -> Iterable[DeleteEntry]:
    gone = _entries(actual, table).keys() - _entries(desired, table).keys()
    return (DeleteEntry(table=table, key=key) for key in sorted(gone))


def plan_counters(ports: Iterable[int], actual: Iterable[bytes]) -> tuple[Sequence[bytes], ...]:
    """Return the counters to make and those to remove; key 0 counts what has no port."""
    wanted = {pack_u32(ifindex) for ifindex in (0, *ports)}
    there = set(actual)
    return sorted(wanted - there), sorted(there - wanted)


assert set(_ORDER) == {field.name for field in fields(Tables)}
