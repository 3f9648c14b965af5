"""Whose are the prefixes of this node, by cloud and journal, and how full are they?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from terway.cli.snapshot import JournalView, Snapshot
from terway.cli.table import table_lines, wrapped
from terway.model.address import IPNetwork
from terway.model.ids import ENIId


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixRow:
    """A prefix, and the ENI that has it by cloud and by journal; empty: none, None: not read."""

    network: IPNetwork
    cloud: ENIId | str | None
    journal: ENIId | str | None
    phase: str
    bound: int  # of its addresses
    difference: str = ""


def prefixes_of(snapshot: Snapshot) -> tuple[PrefixRow, ...]:
    """Return every prefix that the cloud or the journal knows."""
    cloud = dict(_of_cloud(snapshot))
    journal = snapshot.journal or JournalView()
    held = {one.network: one for one in journal.prefixes}
    known = {*cloud, *held}
    managed = {one.id for one in journal.enis}
    return tuple(
        PrefixRow(
            network=one,
            cloud=None if snapshot.cloud is None else cloud.get(one, ""),
            journal=None if snapshot.journal is None else held[one].eni_id if one in held else "",
            phase=held[one].phase if one in held else "",
            bound=_bound(journal, one),
            difference=_difference(snapshot, cloud.get(one), one, managed),
        )
        for one in sorted(known, key=lambda one: (one.version, int(one.network_address)))
    )


def _of_cloud(snapshot: Snapshot) -> Iterable[tuple[IPNetwork, ENIId]]:
    for eni in snapshot.cloud.enis if snapshot.cloud else ():
        for network in eni.ipv4_prefixes:
            yield network, eni.id
        for other in eni.ipv6_prefixes:
            yield other, eni.id


def _bound(journal: JournalView, network: IPNetwork) -> int:
    held = (address for one in journal.attachments for address in one.lease.addresses)
    return sum(one.version == network.version and one in network for one in held)


def _difference(
    snapshot: Snapshot, there: ENIId | None, network: IPNetwork, managed: set[ENIId]
) -> str:
    if snapshot.cloud is None or snapshot.journal is None:
        return ""
    held = next((one for one in snapshot.journal.prefixes if one.network == network), None)
    if held is None:
        if there not in managed:
            return ""  # of an ENI that is not the pool's
        return f"on {there} by the cloud, unknown to the journal (terwayd takes it soon)"
    if there is None:
        return f"the journal has it on {held.eni_id}, the cloud does not have it on this instance"
    if there != held.eni_id:
        return f"the journal has it on {held.eni_id}, the cloud on {there}"
    return ""


def prefix_lines(rows: Iterable[PrefixRow]) -> list[str]:
    """Return the prefixes as a table, then how they differ."""
    listed = list(rows)
    cells = [
        (
            "!" if one.difference else " ",
            str(one.network),
            one.cloud or one.journal or "?",
            one.phase or "-",
            f"{one.bound} of {_size(one.network)}",
        )
        for one in listed
    ]
    lines = table_lines(("", "PREFIX", "ENI", "POOL", "BOUND"), cells)
    for one in listed:
        if one.difference:
            lines += ["", f"! {one.network}", *wrapped(one.difference, indent=4)]
    return lines


def _size(network: IPNetwork) -> str:
    return str(network.num_addresses) if network.num_addresses <= 1 << 16 else "many"
