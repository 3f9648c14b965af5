"""terway-cli policy whatif: what would other policies have done to recorded connections?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from terway.cli.exits import FOUND, OK
from terway.cli.flows_source import read_files
from terway.cli.place import place_options
from terway.cli.policy_names import ports_text
from terway.cli.policy_objects import Manifests, manifests_of
from terway.cli.policy_progress import telling
from terway.cli.policy_read import LIVE, read_objects
from terway.cli.policy_source import tell
from terway.cli.table import counted, print_json, print_lines, wrapped
from terway.policy.asking.unseen import Unseen, unseen
from terway.policy.asking.whatif import Seen, Shift, Whatif, gather, whatif
from terway.policy.cluster import Cluster, PodKey
from terway.policy.records.recorded import RecordedFlow, Remark
from terway.policy.words import describe

_CLUSTER = "cluster"
_MOST = 20  # of what was never seen, for a person


@click.command("whatif")
@click.argument("wanted", metavar="A")
@click.option(
    "--flows",
    "files",
    multiple=True,
    required=True,
    metavar="FILE",
    help="terway-cli flows --write.",
)
@click.option("--now", default="", metavar="B|cluster", help="The policies of today, to compare.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@place_options
def command(*, wanted: str, files: tuple[str, ...], now: str, as_json: bool, **where: str) -> None:
    """List recorded connections that the policies of A would newly allow or newly deny.

    A is a file or folder of manifests, or "cluster". Pods are those of the manifests and of the
    cluster of --now; who is in the records alone has the labels that were recorded. What nobody
    was seen to do, and A allows (with --now: A, and today's policies do not), is listed as well.
    Exit code 1 when something would be treated otherwise.
    """
    plan = _read(wanted, where)
    today = _read(now, where) if now else None
    lines = list(read_files(map(Path, files)))
    owners = {**(today.owners if today is not None else {}), **plan.owners}
    seen = gather(_owned(one, owners) for one in lines if isinstance(one, RecordedFlow))
    lost = sum(one.lost for one in lines if isinstance(one, Remark))
    cluster = _cluster(plan, today)
    policies = None if today is None else today.policies
    with telling(f"holding {counted(len(seen), 'flow')} against the policies"):
        answer = whatif(seen, plan.policies, cluster=cluster, now=policies)
        whose = {key: f"{key.namespace}: {owner}" for key, owner in owners.items()}
        never = unseen(seen, cluster, plan.policies, policies, owners=whose)
    if as_json:
        print_json(_raw(seen, lost, answer, never))
    else:
        print_lines(_lines(seen, lost, answer, never))
    raise SystemExit(FOUND if answer.shifts else OK)


def _owned(flow: RecordedFlow, owners: Mapping[PodKey, str]) -> RecordedFlow:
    """Return a record whose pods are whose the manifests say: a node knows it by labels only."""
    ends = (
        end if end.pod is None else replace(end, workload=owners.get(end.pod, end.workload))
        for end in (flow.source, flow.destination)
    )
    source, destination = ends
    return replace(flow, source=source, destination=destination)


def _read(source: str, where: dict[str, str]) -> Manifests:
    with telling("reading manifests"):
        found = read_objects((LIVE if source == _CLUSTER else source,), **where)
        manifests = manifests_of(found)
    tell(manifests.notes)
    return manifests


def _cluster(plan: Manifests, today: Manifests | None) -> Cluster:
    """Return what manifests say of the cluster; where both do, those of the plan."""
    if today is None:
        return plan.cluster
    first, then = today.cluster, plan.cluster
    return replace(
        first,
        namespaces={**first.namespaces, **then.namespaces},
        pods={**first.pods, **then.pods},
        nodes={**first.nodes, **then.nodes},
    )


def _lines(
    seen: Sequence[Seen], lost: int, answer: Whatif, never: Sequence[Unseen]
) -> Iterator[str]:
    total = sum(one.allowed + one.denied for one in seen)
    missing = f"; {lost} more were lost while they were recorded" if lost else ""
    yield from wrapped(
        f"{counted(len(seen), 'recorded flow')}, {counted(total, 'connection')}{missing}"
    )
    for is_allowed, title in ((False, "newly denied"), (True, "newly allowed")):
        shifts = [one for one in answer.shifts if one.is_allowed is is_allowed]
        count = sum(one.count for one in shifts)
        yield f"{title}: {counted(len(shifts), 'flow')}, {counted(count, 'connection')}"
        yield from _shift_lines(shifts)
    yield f"as before: {counted(answer.unchanged, 'flow')}"
    if answer.unjudged:
        yield f"could not be asked about: {counted(len(answer.unjudged), 'flow')}"
        for one, why in answer.unjudged[:_MOST]:
            yield from wrapped(f"{one.flow.source} -> {one.flow.destination}: {why}", indent=2)
    yield from _unseen_lines(never)


def _shift_lines(shifts: Iterable[Shift]) -> Iterator[str]:
    groups: dict[tuple[str, str, str, int], list[Shift]] = defaultdict(list)
    for one in shifts:
        groups[*one.seen.parties, one.seen.flow.protocol, one.seen.flow.port].append(one)
    by_count = sorted(groups.items(), key=lambda item: -sum(one.count for one in item[1]))
    for (source, destination, protocol, port), found in by_count:
        where = f"{protocol} {port}" if port else protocol
        count = sum(one.count for one in found)
        already = "  (so today, too)" if all(one.is_so_now for one in found) else ""
        yield from wrapped(f"{source} -> {destination}  {where}  x{count}{already}", indent=2)
        yield from wrapped(describe(found[0].verdict), indent=6)


def _unseen_lines(never: Sequence[Unseen]) -> Iterator[str]:
    yield f"never seen, but possible: {counted(len(never), 'kind')}"
    for one in never[:_MOST]:
        reach = "anybody" if not one.sources else _some(one.sources)
        text = f"{ports_text(one.ports)} to {_some(one.destinations)} from {reach}"
        yield from wrapped(text, indent=2)
    if len(never) > _MOST:
        yield f"  … and {len(never) - _MOST} more (--json has all)"


def _some(names: Sequence[str]) -> str:
    most = 3
    rest = f" and {counted(len(names) - most, 'other')}" if len(names) > most else ""
    return f"{', '.join(names[:most])}{rest}"


def _raw(
    seen: Sequence[Seen], lost: int, answer: Whatif, never: Sequence[Unseen]
) -> dict[str, Any]:
    return {
        "flows": len(seen),
        "connections": sum(one.allowed + one.denied for one in seen),
        "lost": lost,
        "unchanged": answer.unchanged,
        "newly_denied": [_raw_shift(one) for one in answer.shifts if not one.is_allowed],
        "newly_allowed": [_raw_shift(one) for one in answer.shifts if one.is_allowed],
        "unjudged": [{**_raw_seen(one), "why": why} for one, why in answer.unjudged],
        "unseen": [
            {
                "ports": [[one.value, first, last] for one, first, last in never_seen.ports],
                "sources": never_seen.sources,
                "destinations": never_seen.destinations,
            }
            for never_seen in never
        ],
    }


def _raw_shift(shift: Shift) -> dict[str, Any]:
    return {
        **_raw_seen(shift.seen),
        "count": shift.count,
        "so_now": shift.is_so_now,
        "why": describe(shift.verdict),
    }


def _raw_seen(seen: Seen) -> dict[str, Any]:
    flow = seen.flow
    return {
        "source": str(flow.source),
        "source_owner": flow.source.owner,
        "destination": str(flow.destination),
        "destination_owner": flow.destination.owner,
        "protocol": flow.protocol,
        "port": flow.port,
        "allowed": seen.allowed,
        "denied": seen.denied,
    }
