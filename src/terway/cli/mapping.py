"""terway-cli mapping: do cloud, journal, kernel and Kubernetes say the same of every address?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import click

from terway.cli.collect import Wanted
from terway.cli.exits import CANNOT_REACH, FOUND, OK
from terway.cli.hops import has_address
from terway.cli.prefixes import PrefixRow, prefix_lines, prefixes_of
from terway.cli.show import owner_of
from terway.cli.snapshot import Snapshot
from terway.cli.source import source_options, take_snapshot
from terway.cli.table import print_json, print_lines, table_lines, wrapped
from terway.datapath.names import is_eni_table
from terway.model.address import IPAddress
from terway.model.attachment import Attachment
from terway.model.eni import ENI, ENIStatus, ENIType

_SOURCES = ("cloud", "journal", "kernel", "kubernetes")
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One address, as each of the four knows it: empty where it does not, None: not readable."""

    address: IPAddress
    cloud: str | None
    journal: str | None
    kernel: str | None
    kubernetes: str | None
    differences: tuple[str, ...] = ()


@click.command("mapping")
@click.option("--differences", "only_differences", is_flag=True, help="Leave out what agrees.")
@source_options
def command(only_differences: bool, bundle: str, as_json: bool, **where: str) -> None:
    """Put cloud, journal, kernel and Kubernetes side by side, address by address.

    Works with terwayd down. Exit code 1 when they differ, 3 when fewer than two could be read.
    """
    snapshot = take_snapshot(bundle, Wanted(), **where)
    rows, prefixes = mapping_of(snapshot), prefixes_of(snapshot)
    shown = [one for one in rows if one.differences or not only_differences]
    ranges = [one for one in prefixes if one.difference or not only_differences]
    if as_json:
        print_json({"rows": shown, "prefixes": ranges, "missing": snapshot.missing})
    else:
        lines = mapping_lines(shown, snapshot, ranges)
        print_lines((*lines, *([""] if lines else []), verdict(rows, prefixes)))
    read = sum(getattr(snapshot, source) is not None for source in _SOURCES)
    if read < 2:
        raise SystemExit(CANNOT_REACH)
    is_different = any(one.differences for one in rows) or any(one.difference for one in prefixes)
    raise SystemExit(FOUND if is_different else OK)


def mapping_of(snapshot: Snapshot) -> tuple[Row, ...]:
    """Return every address that one of the four knows, and how they differ."""
    facts = _Facts(snapshot)
    return tuple(facts.row(address) for address in sorted(facts.addresses(), key=_order))


def _order(address: IPAddress) -> tuple[int, int]:
    return address.version, int(address)


class _Facts:
    """A snapshot, by address."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._enis = dict(_cloud_addresses(snapshot))
        journal = snapshot.journal
        self._slots = {one.address: one for one in journal.slots} if journal else {}
        self._held = {
            address: one
            for one in (journal.attachments if journal else ())
            for address in one.lease.addresses
        }
        for address in {*self._slots, *self._held} - self._enis.keys():
            for eni in snapshot.cloud.enis if snapshot.cloud else ():
                if has_address(eni, address):  # of a prefix: the cloud lists the prefix alone
                    self._enis[address] = eni
        self._kernel = dict(_kernel_addresses(snapshot))
        self._pods = {
            address: one
            for one in (snapshot.kubernetes.pods if snapshot.kubernetes else ())
            if one.node == snapshot.node_name
            and not one.is_host_network
            and one.phase not in _ENDED
            for address in one.addresses
        }

    def addresses(self) -> set[IPAddress]:
        return {*self._enis, *self._slots, *self._held, *self._kernel, *self._pods}

    def row(self, address: IPAddress) -> Row:
        there = self._snapshot
        eni, slot, held = (
            self._enis.get(address),
            self._slots.get(address),
            self._held.get(address),
        )
        in_journal = owner_of(held) if held else "retiring" if slot and slot.is_retiring else ""
        free = "free" if slot and not in_journal else in_journal
        pod = self._pods.get(address)
        return Row(
            address=address,
            cloud=None if there.cloud is None else eni.id if eni else "",
            journal=None if there.journal is None else free,
            kernel=None if there.kernel is None else self._kernel.get(address, ""),
            kubernetes=None if there.kubernetes is None else str(pod) if pod else "",
            differences=tuple(self._differences(address, held)),
        )

    def _differences(self, address: IPAddress, held: Attachment | None) -> Iterator[str]:
        yield from self._of_cloud(address)
        there = self._snapshot
        if held is not None:
            yield from self._of_kernel(held)
            pod = self._pods.get(address)
            if there.kubernetes is not None and held.pod is not None and pod is None:
                yield f"bound to {held.pod}, but Kubernetes shows no such pod with this address"
            if pod is not None and held.pod is not None and str(pod) != str(held.pod):
                yield f"bound to {held.pod}, but Kubernetes says {pod}"
            return
        if address in self._kernel and there.journal is not None:
            yield f"nobody's by the journal, but the kernel leads it to {self._kernel[address]}"
        if address in self._pods and there.journal is not None:
            yield f"pod {self._pods[address]} has it by Kubernetes, nobody by the journal"

    def _of_cloud(self, address: IPAddress) -> Iterator[str]:
        eni, slot, held = (
            self._enis.get(address),
            self._slots.get(address),
            self._held.get(address),
        )
        if self._snapshot.cloud is None:
            return
        wanted = held.lease.eni_id if held else slot.eni_id if slot else None
        if wanted is not None and eni is None:
            yield f"the journal has it on {wanted}, the cloud does not have it on this instance"
        elif wanted is not None and eni is not None and eni.id != wanted:
            yield f"the journal has it on {wanted}, the cloud on {eni.id}"
        if held is not None and eni is not None and eni.status is not ENIStatus.IN_USE:
            yield f"its ENI {eni.id} is {eni.status.value}, not InUse"
        managed = {one.id for one in self._snapshot.journal.enis} if self._snapshot.journal else ()
        if eni is not None and eni.id in managed and wanted is None:
            yield f"on {eni.id} by the cloud, unknown to the journal (terwayd takes it soon)"

    def _of_kernel(self, held: Attachment) -> Iterator[str]:
        if self._snapshot.kernel is None:
            return
        view = next((one for one in self._snapshot.kernel.pods if one.key == held.key), None)
        if view is None:
            return
        if view.seen is None:
            yield f"its network namespace {held.netns} is gone"
            return
        yield from view.differences


def _cloud_addresses(snapshot: Snapshot) -> Iterator[tuple[IPAddress, ENI]]:
    for eni in snapshot.cloud.enis if snapshot.cloud else ():
        if eni.type is not ENIType.PRIMARY:
            for address in eni.ipv4:
                yield address, eni
            for other in eni.ipv6:
                yield other, eni


def _kernel_addresses(snapshot: Snapshot) -> Iterator[tuple[IPAddress, str]]:
    """Yield the addresses that the node has a pod's route or rule for, and where it leads."""
    if snapshot.kernel is None:
        return
    node = snapshot.kernel.node
    for rule in node.rules:
        source = rule.source
        if source and source.prefixlen == source.max_prefixlen and is_eni_table(rule.table):
            yield source.network_address, f"table {rule.table}"
    pod_links = {one.name for one in node.links if one.name.startswith("cali")}
    for route in node.routes:
        exact = route.destination.prefixlen == route.destination.max_prefixlen
        leads = exact and route.link in pod_links and route.kind == "unicast"
        if leads and not route.destination.is_link_local:
            yield route.destination.network_address, route.link


def mapping_lines(
    rows: Iterable[Row], snapshot: Snapshot, prefixes: Iterable[PrefixRow] = ()
) -> list[str]:
    """Return the table, the prefixes where there are any, then every difference in words."""
    listed, ranges = list(rows), list(prefixes)
    lines = _table(listed)
    if ranges:
        lines += ["", *prefix_lines(ranges)]
    causes: dict[str, list[str]] = {}
    for one in listed:
        for text in one.differences:
            causes.setdefault(text, []).append(str(one.address))
    for text, addresses in causes.items():
        lines += ["", *wrapped(f"! {text}"), *wrapped(", ".join(addresses), indent=2)]
    for missing in snapshot.missing:
        if missing.source in _SOURCES:
            lines += ["", *wrapped(f"? {missing.source} could not be read: {missing.reason}")]
    return lines


def _table(rows: list[Row]) -> list[str]:
    heads = ("", "ADDRESS", "CLD", "JRN", "KRN", "K8S", "OWNER")
    cells = [
        (
            "!" if one.differences else " ",
            str(one.address),
            *map(_mark, (one.cloud, one.journal, one.kernel, one.kubernetes)),
            one.journal or one.kubernetes or "?",
        )
        for one in rows
    ]
    return table_lines(heads, cells, whole="ADDRESS") if rows else []


def _mark(text: str | None) -> str:
    return "?" if text is None else "yes" if text else "-"


def verdict(rows: Iterable[Row], prefixes: Iterable[PrefixRow] = ()) -> str:
    """Return whether all agree, in a line."""
    listed, ranges = list(rows), list(prefixes)
    what = f"{len(listed)} addresses" + (f" and {len(ranges)} prefixes" if ranges else "")
    different = sum(bool(one.differences) for one in listed)
    different += sum(bool(one.difference) for one in ranges)
    if not different:
        return f"{what}, and all that could be read agree"
    return f"{what}, {different} differ; terway-cli doctor says what mends it"
