"""terway-cli policy diff: what becomes allowed, and what denied, from A to B?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from terway.cli.exits import FOUND, OK
from terway.cli.policy_names import groups_text, packet_text, ports_text, side_text
from terway.cli.policy_pair import Compared, pair_options, read_pair, reasons
from terway.cli.policy_progress import telling
from terway.cli.table import counted, print_json, print_lines, wrapped
from terway.policy.asking.difference import Difference, Packet, changes, differences
from terway.policy.asking.matrix_groups import Relation
from terway.policy.asking.representatives import Holder
from terway.policy.flow import Flow

_RELATIONS = {
    Relation.STRANGERS: "",
    Relation.OWN_NODE: " (the node that the pod runs on)",
    Relation.ITSELF: " (each to itself, through a service)",
}


@click.command("diff")
@pair_options
def command(*, before: str, after: str, as_json: bool, **options: Any) -> None:
    """Say what becomes allowed and what denied from the manifests A to the manifests B.

    A and B are a folder, a file, - or @live, the cluster. The answer is exact: every connection
    that both judge otherwise is in it. It is about the pods among A, B and -f; where there is no
    pod at all, about any cluster.

    Exit code 0: no difference; 1: some.
    """
    compared = read_pair(before, after, **options)
    with telling("comparing A and B"):
        changed = changes(compared.holders, compared.before, compared.after, is_any=compared.is_any)
        found = differences(changed)
    if as_json:
        print_json([as_plain(compared, one) for one in found])
    else:
        print_lines(diff_lines(compared, found))
    raise SystemExit(FOUND if found else OK)


def diff_lines(compared: Compared, found: tuple[Difference, ...]) -> Iterator[str]:
    """Yield the differences, what becomes allowed first."""
    for one in sorted(found, key=lambda one: not one.is_allowed):
        yield "+ becomes allowed" if one.is_allowed else "- becomes denied"
        sources = groups_text(one.sources, is_any=compared.is_any)
        yield from wrapped(f"from  {sources}", indent=4)
        destinations = groups_text(one.destinations, is_any=compared.is_any)
        yield from wrapped(f"to    {destinations}{_RELATIONS[one.relation]}", indent=4)
        yield from wrapped(f"on    {ports_text(one.ports)}", indent=4)
        yield from packet_lines(compared, one.packet, indent=4)
        yield ""
    if not found:
        yield f"no difference, {compared.scope}"
    else:
        allowed = sum(one.is_allowed for one in found)
        count = f"{allowed} allowed, {len(found) - allowed} denied"
        yield f"{counted(len(found), 'difference')} ({count}), {compared.scope}"


def packet_lines(compared: Compared, packet: Packet, *, indent: int) -> Iterator[str]:
    """Yield a packet, and what both sets say to it."""
    before, after = reasons(compared, packet)
    yield from wrapped(f"e.g.  {packet_text(packet)}", indent=indent)
    if compared.is_any:
        for name, end in (("from", packet.source), ("to", packet.destination)):
            for text in side_text(name, end):
                yield from wrapped(text, indent=indent + 6)
    yield from wrapped(f"A     {before}", indent=indent)
    yield from wrapped(f"B     {after}", indent=indent)


def as_plain(compared: Compared, one: Difference) -> dict[str, Any]:
    """Return a difference for programs."""
    return {
        "becomes": "allow" if one.is_allowed else "deny",
        "relation": one.relation.value,
        "from": [holder_plain(end) for group in one.sources for end in group.holders],
        "to": [holder_plain(end) for group in one.destinations for end in group.holders],
        "ports": [
            {"protocol": protocol.value, "first": first, "last": last}
            for protocol, first, last in one.ports
        ],
        "packet": packet_plain(compared, one.packet),
    }


def packet_plain(compared: Compared, packet: Packet) -> dict[str, Any]:
    """Return a packet for programs."""
    flow: Flow = packet.flow
    before, after = reasons(compared, packet)
    return {
        "from": holder_plain(packet.source),
        "to": holder_plain(packet.destination),
        "protocol": flow.protocol.value,
        "port": flow.port,
        "via_service": flow.via_service,
        "A": before,
        "B": after,
    }


def holder_plain(holder: Holder) -> dict[str, Any]:
    """Return an end for programs."""
    pod = holder.pod
    return {
        "address": str(holder.address),
        "pod": str(pod.key) if pod is not None else None,
        "labels": dict(pod.labels) if pod is not None else None,
        "namespace_labels": dict(holder.namespace) if pod is not None else None,
        "nodes": [str(node.name) for node in holder.nodes],
    }
