"""terway-cli drops: how many packets has each pod of this node lost so far, to what?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import click

from terway.cli.collect import Wanted
from terway.cli.exits import OK
from terway.cli.show import owner_of
from terway.cli.snapshot import JournalView, KernelView, PodView, Snapshot, require
from terway.cli.snapshot_ebpf import DataPathView, LossView
from terway.cli.source import source_options, take_snapshot
from terway.cli.table import print_json, print_lines, table_lines, wrapped
from terway.model.attachment import Attachment, AttachmentKey
from terway.model.endpoint import endpoint_number
from terway.model.errors import UsageError

_GUARD, _LIMIT, _DATAPATH = "guard", "limit", "data path"
_NOBODY = "(no pod)"
_GONE = "(gone)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Packets that somebody lost. `bytes` None: only packets are counted."""

    pod: str
    by: str  # "guard" of the source address, bandwidth "limit", or eBPF "data path"
    reason: str
    meaning: str
    packets: int
    bytes: int | None = None


@click.command("drops")
@click.option("--pod", default="", metavar="[NAMESPACE/]NAME", help="Of this pod alone.")
@source_options
def command(*, pod: str, bundle: str, as_json: bool, **where: str) -> None:
    """Show how many packets each pod of this node has lost, and why, the most first.

    Counted by the guard of source addresses, by bandwidth limits, and by the eBPF data path where
    there is one, since the pod is here. What policies of nftables deny is in terway-cli flows.
    As it happens: terway-cli monitor --drops. Exit code 3 when nothing could be read.
    """
    wanted = Wanted(sources={"journal", "config", "kernel", "ebpf"})
    snapshot = take_snapshot(bundle, wanted, **where)
    found = sorted(drops_of(snapshot), key=lambda one: (-one.packets, one.pod, one.reason))
    shown = [one for one in found if _is_of(one, pod)]
    if pod and not shown:
        _check_pod(snapshot, pod)
    if as_json:
        print_json(shown)
    else:
        print_lines(drop_lines(shown))
    raise SystemExit(OK)


def _is_of(drop: Drop, pod: str) -> bool:
    return not pod or pod in (drop.pod, drop.pod.rpartition("/")[2])


def _check_pod(snapshot: Snapshot, pod: str) -> None:
    """Raise UsageError where the node has no such pod: then no drops says nothing."""
    held = (snapshot.journal or JournalView()).attachments
    names = {str(one.pod) for one in held if one.pod is not None}
    if not any(pod in (one, one.rpartition("/")[2]) for one in names):
        raise UsageError(f"pod {pod} is not on this node", field="--pod")


def drops_of(snapshot: Snapshot) -> Iterator[Drop]:
    """Yield what was lost, by whom. Raises TransientError where nothing could be read."""
    journal = require(snapshot.journal, snapshot, "journal")
    kernel = require(snapshot.kernel, snapshot, "kernel")
    names = {one.key: owner_of(one) for one in journal.attachments}
    yield from _of_kernel(kernel, names)
    if snapshot.ebpf is not None:
        yield from _of_datapath(snapshot.ebpf, journal.attachments)


def _of_kernel(kernel: KernelView, names: Mapping[AttachmentKey, str]) -> Iterator[Drop]:
    for view in kernel.pods:
        pod = names.get(view.key, view.host_link)
        yield from _of_guard(view, pod)
        for queue in view.queues:
            if queue.dropped:
                way = "egress" if queue.is_in_pod else "ingress"
                text = f"more than its limit, on {queue.link}"
                yield Drop(pod=pod, by=_LIMIT, reason=way, meaning=text, packets=queue.dropped)


def _of_guard(view: PodView, pod: str) -> Iterator[Drop]:
    for one in view.guard_losses or ():
        yield Drop(pod=pod, by=_GUARD, reason=one.reason, meaning=one.meaning, packets=one.packets)


def _of_datapath(ebpf: DataPathView, attachments: Iterable[Attachment]) -> Iterator[Drop]:
    held: dict[int, str] = {endpoint_number(one.key): owner_of(one) for one in attachments}
    for one in ebpf.losses:
        yield Drop(
            pod=_name(one, held),
            by=_DATAPATH,
            reason=one.reason,
            meaning=one.meaning,
            packets=one.packets,
            bytes=one.bytes,
        )


def _name(loss: LossView, held: Mapping[int, str]) -> str:
    return held.get(loss.endpoint, _GONE) if loss.endpoint else _NOBODY


def drop_lines(drops: Iterable[Drop]) -> Iterator[str]:
    """Yield a table, and what its reasons mean."""
    listed = list(drops)
    if not listed:
        yield "nothing was lost"
        return
    rows = ((one.pod, one.by, one.reason, f"{one.packets:,}") for one in listed)
    yield from table_lines(("POD", "BY", "REASON", "PACKETS"), rows, whole="PACKETS")
    yield ""
    meanings = {(one.by, one.reason): one.meaning for one in listed if one.by != _LIMIT}
    for (by, reason), meaning in sorted(meanings.items()):
        yield from wrapped(f"{reason} ({by}): {meaning}")
