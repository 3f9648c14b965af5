"""terway-cli why: which hop stops a packet from a pod to somewhere?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import click

from terway.cli.collect import ALL, Wanted
from terway.cli.exits import CANNOT_REACH, FOUND, OK
from terway.cli.hops import Ground, Hop, Packet, State
from terway.cli.question import frontends_of, packets_of, questions_of
from terway.cli.second_addresses import owners_of
from terway.cli.snapshot import Snapshot
from terway.cli.source import source_options, take_snapshot
from terway.cli.table import print_json, print_lines, wrapped
from terway.cli.target_service import Target
from terway.cli.walk import walk
from terway.cli.walk_maps import with_maps
from terway.cli.walk_pod import losses, pod_name
from terway.cli.walk_policy import Rules, policy_hops, read_rules

_PROTOCOLS = ("tcp", "udp", "icmp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One packet and its hops. `cautions`: no failure, but it costs packets now and then."""

    packet: Packet
    target: str
    hops: tuple[Hop, ...]
    cautions: tuple[str, ...] = ()

    @property
    def failure(self) -> Hop | None:
        """Return the hop that fails, None when none is known to."""
        return next((one for one in self.hops if one.state is State.FAIL), None)


@click.command("why")
@click.argument("pod", metavar="[NAMESPACE/]POD")
@click.argument("destination", metavar="DST[:PORT]")
@click.option(
    "--proto",
    "--protocol",
    "proto",
    type=click.Choice(_PROTOCOLS, case_sensitive=False),
    default="tcp",
    show_default=True,
)
@click.option("--family", type=click.Choice(["4", "6", "both"]), default="both", show_default=True)
@source_options
def command(
    *,
    pod: str,
    destination: str,
    proto: str,
    family: str,
    bundle: str,
    as_json: bool,
    **where: str,
) -> None:
    """Walk one packet from a pod of this node, and name the first hop that fails.

    DST is an address, a pod ([NAMESPACE/]NAME), a node, or a service (svc/[NAMESPACE/]NAME). With
    names, both families are walked. Of another node, what Kubernetes and the cloud say is looked
    at; what could not be is named.

    Exit code 0: no hop is known to fail; 1: one fails; 2: the pod or DST is not known; 3: nothing
    could be read.
    """
    families = (4, 6) if family == "both" else (int(family),)

    def packets(snapshot: Snapshot) -> Iterator[tuple[Packet, Target]]:
        return packets_of(snapshot, pod, destination, proto, families)

    wanted = Wanted(
        sources=ALL - {"agent"},
        everything_of_kube=True,
        deep_cloud=True,
        look_at=lambda found: [packet.destination for packet, _ in packets(found)],
        questions=lambda found: questions_of(found, [packet for packet, _ in packets(found)]),
        frontends=lambda found: frontends_of(found, pod, destination, proto),
    )
    snapshot = take_snapshot(bundle, wanted, **where)
    rules = read_rules(bundle, snapshot.policy, **where)
    explained = [explain(snapshot, packet, target, rules) for packet, target in packets(snapshot)]
    if as_json:
        print_json(explained)
    else:
        print_lines(line for one in explained for line in why_lines(one))
    raise SystemExit(FOUND if any(one.failure for one in explained) else _code(explained))


def _code(explained: Iterable[Explained]) -> int:
    known = any(hop.state is State.OK for one in explained for hop in one.hops)
    return OK if known else CANNOT_REACH


def explain(
    snapshot: Snapshot, packet: Packet, target: Target, rules: Rules | None = None
) -> Explained:
    """Return a packet's hops; who must translate a service comes first, policies come last."""
    before = target.hops_of(packet.source.version)
    if any(one.state is State.FAIL for one in before):
        return Explained(packet=packet, target=target.name, hops=before)
    hops = (*before, *walk(snapshot, packet))
    if rules is not None and not any(one.state is State.FAIL for one in hops):
        said = policy_hops(rules, packet, owners_of(snapshot))
        hops = (*hops, *with_maps(said, snapshot, rules.maps, packet, packet.port or 0))
    cautions = tuple(cautions_of(snapshot, packet))
    return Explained(packet=packet, target=target.name, hops=hops, cautions=cautions)


def cautions_of(snapshot: Snapshot, packet: Packet) -> Iterator[str]:
    """Yield what has cost the two pods packets so far, though no hop fails: guards and limits."""
    if snapshot.kernel is None:
        return
    ground = Ground(snapshot, snapshot.kernel)
    for address in (packet.source, packet.destination):
        held = ground.attachment(address)
        view = ground.view(held) if held is not None else None
        if held is not None and view is not None:
            yield from losses(pod_name(held), view)


def why_lines(explained: Explained) -> Iterator[str]:
    """Yield a walk: a line a hop, then the reason and the remedy."""
    yield str(explained.packet)
    yield f"  to {explained.target}"
    for hop in explained.hops:
        yield from wrapped(f"{hop.state.value:<4}  {hop.where}: {hop.what}: {hop.text}", indent=2)
    failure = explained.failure
    if failure is None:
        yield "  no hop is known to fail"
        for text in explained.cautions:
            yield from wrapped(f"note: {text}", indent=2)
    else:
        yield ""
        yield from wrapped(f"it ends at: {failure.where}, {failure.what}", indent=2)
        yield from wrapped(f"mend it:    {failure.remedy}", indent=2)
    yield ""
