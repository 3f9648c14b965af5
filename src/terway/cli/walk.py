"""Which way does one packet of a pod go, and at which hop does it end? Pure, over a snapshot.

    pod ─► host link ─► forwarding ─► rules and routes ─┬─► this node itself
     │                                                 ├─► a pod of this node ─► its namespace
     │                                                 └─► ENI ─► VPC ─► ENI ─► (another node)
     └─ an ENI of its own ─► VPC                        (walk_far: what is known of that)

With a data path in eBPF its programs come first (walk_ebpf): they lead past the node's stack, or
leave the packet to it.

The walk ends at the first hop that fails: what comes after it is not the reason.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace

from terway.cli.fib import Decision
from terway.cli.hops import RESTART_AGENT, Ground, Hop, Packet, State, fail, ok
from terway.cli.snapshot import Snapshot, require
from terway.cli.snapshot_ebpf import DataPathView
from terway.cli.walk_cloud import across
from terway.cli.walk_ebpf import Lead, Led, delivery, endpoint_hops, is_child, lead, redirect
from terway.cli.walk_far import far_end
from terway.cli.walk_leg import with_nodes_address
from terway.cli.walk_node import (
    by_host_stack,
    eni_link,
    forwarding,
    host_link,
    prohibited,
    to_eni,
    to_local_pod,
)
from terway.cli.walk_pod import (
    in_namespace,
    is_exclusive,
    limits,
    link_named,
    out_of_pod,
    pod_decision,
    pod_name,
)
from terway.datapath.reach import is_host_stack_rule
from terway.model.attachment import Attachment
from terway.model.interface import Mode


def walk(snapshot: Snapshot, packet: Packet) -> tuple[Hop, ...]:
    """Return the hops of a packet, the failing one last.

    Raises TransientError when the kernel or the journal was not read: nothing can be said then.
    """
    require(snapshot.journal, snapshot, "journal")
    ground = Ground(snapshot, require(snapshot.kernel, snapshot, "kernel"))
    hops: list[Hop] = []
    for hop in _hops(ground, packet):
        hops.append(hop)
        if hop.state is State.FAIL:
            break
    return tuple(hops)


def _hops(ground: Ground, packet: Packet) -> Iterator[Hop]:
    sender = ground.attachment(packet.source)
    if sender is None:
        text = f"the journal knows no pod with {packet.source} on this node"
        remedy = "is the pod here? kubectl get pods -o wide; if it is: kubectl delete pod"
        yield fail("node", "attachment", text, remedy)
        return
    yield from in_namespace(ground, sender, packet.source)
    yield from out_of_pod(ground, sender, packet)
    yield from limits(ground, sender, is_sender=True)
    if ground.snapshot.ebpf is not None:
        is_through = yield from _by_programs(ground, ground.snapshot.ebpf, packet, sender)
        if is_through:
            return
    if _is_own_eni(ground, sender, packet):
        yield from across(ground, packet, sender.lease.eni_id)
        yield from _arrive(ground, packet)
        return
    yield from host_link(ground, sender)
    view = ground.view(sender)
    name = view.host_link if view is not None else ""
    yield from forwarding(ground, packet, name)
    yield from _onward(ground, packet, sender, name)


def _by_programs(
    ground: Ground, ebpf: DataPathView, packet: Packet, sender: Attachment
) -> Generator[Hop, None, bool]:
    """Yield what programs do with a packet; return whether that was its whole way.

    What they hand to the node's stack, or to the pod's own device, goes on as without them.
    """
    yield from endpoint_hops(ebpf, sender, packet.source)
    led = lead(ebpf, packet)
    if led.is_past_stack and sender.spec.mode is not Mode.EXCLUSIVE:
        if not is_child(ebpf, sender):
            yield from host_link(ground, sender)
        yield from _to_endpoint(ground, ebpf, packet, led)
        return True
    if led.lead is Lead.OUT and not _is_own_eni(ground, sender, packet):
        yield from host_link(ground, sender)
        yield from eni_link(ground, sender)
        yield from redirect(ground, ebpf, packet, sender)
        yield from across(ground, packet, sender.lease.eni_id)
        yield from _arrive(ground, packet)
        return True
    if led.lead is not Lead.OUT:
        yield ok("data path", "delivery", f"left to the node's stack: {led.why}")
    return False


def _to_endpoint(ground: Ground, ebpf: DataPathView, packet: Packet, led: Led) -> Iterator[Hop]:
    """Yield the way to a pod of this node past the node's stack, and its answer's."""
    yield from delivery(ground, led)
    target = ground.attachment(packet.destination)
    if target is None:
        text = f"{led.why}, of which the journal knows nothing"
        yield fail("data path", "delivery", text, RESTART_AGENT)
        return
    yield from endpoint_hops(ebpf, target, packet.destination)
    if not is_child(ebpf, target):
        yield from host_link(ground, target)
    yield from _into(ground, packet, target)
    for hop in out_of_pod(ground, target, packet.reply()):
        if hop.state is State.FAIL:
            yield replace(hop, what=f"answer's {hop.what}")


def _is_own_eni(ground: Ground, sender: Attachment, packet: Packet) -> bool:
    """Return whether the packet leaves by an ENI that is in the pod itself."""
    view = ground.view(sender)
    if view is None or view.seen is None:
        return False
    chosen = pod_decision(view.seen, packet).route
    link = link_named(view.seen, chosen.link) if chosen is not None else None
    return link is not None and link.mac == sender.lease.eni_mac


def _onward(ground: Ground, packet: Packet, sender: Attachment, name: str) -> Iterator[Hop]:
    chosen = ground.route(packet, name)
    yield from prohibited(packet, chosen)
    target = ground.attachment(packet.destination)
    if target is not None:
        yield from to_local_pod(ground, packet, chosen, target)
        yield from host_link(ground, target)
        yield from _into(ground, packet, target)
        if not is_exclusive(sender):  # else it has the node's address, and so has the answer
            yield from _answer(ground, packet, target)
    elif chosen.kind == "local":
        yield ok("node", "routing", f"{packet.destination} is this node itself")
    elif is_exclusive(sender):
        yield from with_nodes_address(ground, packet, chosen)
        yield from _arrive(ground, packet)
    elif chosen.rule is not None and is_host_stack_rule(chosen.rule):
        yield from by_host_stack(ground, packet, chosen)
    else:
        yield from _leave(ground, packet, sender, chosen)


def _into(ground: Ground, packet: Packet, target: Attachment) -> Iterator[Hop]:
    yield from limits(ground, target, is_sender=False)
    yield from in_namespace(ground, target, packet.destination)


def _leave(ground: Ground, packet: Packet, sender: Attachment, chosen: Decision) -> Iterator[Hop]:
    yield from eni_link(ground, sender)
    yield from to_eni(ground, packet, chosen, sender)
    yield from across(ground, packet, sender.lease.eni_id)
    yield from _arrive(ground, packet)


def _arrive(ground: Ground, packet: Packet) -> Iterator[Hop]:
    """Yield the other end: a pod here that the VPC leads to, or what is known of another node."""
    target = ground.attachment(packet.destination)
    if target is not None:
        yield from in_namespace(ground, target, packet.destination)
    else:
        yield from far_end(ground, packet)


def _answer(ground: Ground, packet: Packet, target: Attachment) -> Iterator[Hop]:
    """Yield whether a pod of this node can answer: its route, and the node's decision."""
    reply = packet.reply()
    for hop in out_of_pod(ground, target, reply):
        if hop.state is State.FAIL:
            yield replace(hop, what=f"answer's {hop.what}")
            return
    view, sender = ground.view(target), ground.attachment(packet.source)
    if view is None or sender is None:
        return
    chosen = ground.route(reply, view.host_link)
    for hop in to_local_pod(ground, reply, chosen, sender):
        text = f"pod {pod_name(target)} to {packet.source}: {hop.text}"
        yield Hop(
            where=hop.where, what="answer's routing", state=hop.state, text=text, remedy=hop.remedy
        )
