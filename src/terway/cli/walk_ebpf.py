"""How does a packet pass the programs of the eBPF data path, as the kernel's own maps have it?

pod ─► from_pod, or out_of_pod inside ─► locals ─┬─► a pod of this node: past the node's stack
                                                ├─► the node, or host_stack: its stack
                                                └─► the ENI, to its gateway's hardware address
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from terway.cli.hops import RESTART_AGENT, Ground, Hop, Packet, fail, ok, unknown
from terway.cli.snapshot_ebpf import DataPathView, EndpointView
from terway.cli.walk_pod import pod_name, sent_to
from terway.linux.ebpf.stamp import stamp_name
from terway.model.address import IPAddress
from terway.model.attachment import Attachment
from terway.model.endpoint import EndpointKind, endpoint_number
from terway.model.network import Link

_WHERE = "data path"


class Lead(Enum):
    """Where programs lead a packet."""

    POD = "a pod of this node"
    STACK = "the node's stack"
    OUT = "the ENI"


@dataclass(frozen=True, slots=True, kw_only=True)
class Led:
    """Where programs lead a packet, and why there. `target` is the pod's endpoint."""

    lead: Lead
    why: str
    target: EndpointView | None = None

    @property
    def is_past_stack(self) -> bool:
        """Return whether it goes into a pod of this node without the node's stack."""
        if self.lead is not Lead.POD:
            return False
        return self.target is None or self.target.endpoint.kind is not EndpointKind.EXCLUSIVE


def is_child(ebpf: DataPathView, attachment: Attachment) -> bool:
    """Return whether a pod is an IPvlan child of its ENI: it has no link of its own on the node."""
    known = ebpf.endpoint(endpoint_number(attachment.key))
    return known is not None and known.endpoint.kind is EndpointKind.IPVLAN


def endpoint_hops(ebpf: DataPathView, attachment: Attachment, address: IPAddress) -> Iterator[Hop]:
    """Yield whether a pod has its programs, and whether they know it."""
    number, pod = endpoint_number(attachment.key), pod_name(attachment)
    known = ebpf.endpoint(number)
    if known is None:
        text = f"pod {pod} is not known to the programs: endpoint {number} is missing"
        yield fail(_WHERE, "endpoint", text, RESTART_AGENT)
        return
    missing = ", ".join(missing_programs(ebpf, attachment, known))
    if missing:
        text = f"pod {pod} lacks {missing}"
        yield fail(_WHERE, "programs", text, RESTART_AGENT)
        return
    local = ebpf.local(address)
    if local is None or local.endpoint != number:
        text = f"{address} is not led to pod {pod}: map locals has no such entry"
        yield fail(_WHERE, "endpoint", text, RESTART_AGENT)
        return
    lost = [one for one in ebpf.losses if one.endpoint == number and one.packets]
    so_far = "; ".join(f"{one.packets:,} {one.reason}" for one in lost) or "nothing"
    kind = known.endpoint.kind.name.lower()
    yield ok(_WHERE, "programs", f"pod {pod} ({kind}) has them; lost so far: {so_far}")


def missing_programs(
    ebpf: DataPathView, attachment: Attachment, known: EndpointView
) -> Iterator[str]:
    """Yield the programs that an endpoint lacks."""
    if known.endpoint.kind is EndpointKind.VETH:
        there = {one.program for one in ebpf.hooks if not one.pod and one.ifindex == known.link}
        wanted: tuple[str, ...] = ("from_pod", "to_pod")
        if dict(ebpf.links).get(known.link) != known.endpoint.number:
            yield "an owner of its link: map links has none"
    else:
        there = {one.program for one in ebpf.hooks if one.pod == attachment.key}
        wanted = (stamp_name(known.endpoint.number), "out_of_pod", "into_pod")
    yield from (f"program {one}" for one in wanted if one not in there)


def lead(ebpf: DataPathView, packet: Packet) -> Led:
    """Return where the programs lead a packet of a pod.

    A service that others translate is the node's stack's, whichever its endpoint.
    """
    address = packet.destination if ebpf.does_services else sent_to(packet)
    local = ebpf.local(address)
    prefixes = ebpf.node.host_stack if ebpf.node is not None else ()
    fitting = (one for one in prefixes if one.version == address.version and address in one)
    prefix = next(fitting, None)
    if local is not None and local.endpoint is not None:
        why = f"{address} is endpoint {local.endpoint}"
        return Led(lead=Lead.POD, why=why, target=ebpf.endpoint(local.endpoint))
    if local is not None:
        return Led(lead=Lead.STACK, why=f"{address} is the node's own")
    if prefix is not None:
        return Led(lead=Lead.STACK, why=f"{prefix} is left to the node's stack")
    return Led(lead=Lead.OUT, why=f"{address} is nobody's of this node")


def delivery(ground: Ground, led: Led) -> Iterator[Hop]:
    """Yield how a packet comes into a pod of this node."""
    if led.target is None:
        text = f"{led.why}, which the maps do not have"
        yield fail(_WHERE, "delivery", text, RESTART_AGENT)
        return
    endpoint, link = led.target.endpoint, _link(ground, led.target.link)
    name = link.name if link is not None else f"link {led.target.link}"
    if link is None:
        text = f"{led.why}, whose {name} is not there"
        yield fail(_WHERE, "delivery", text, RESTART_AGENT)
    elif endpoint.kind is EndpointKind.IPVLAN:
        yield ok(_WHERE, "delivery", f"{led.why}: by {name}, a child of the same ENI")
    elif endpoint.is_queued:
        yield ok(_WHERE, "delivery", f"{led.why}: through the queue of {name}, for its limit")
    else:
        yield ok(_WHERE, "delivery", f"{led.why}: by {name} straight into its namespace")


def redirect(
    ground: Ground, ebpf: DataPathView, packet: Packet, sender: Attachment
) -> Iterator[Hop]:
    """Yield how a packet leaves by the pod's ENI, and what comes in by it."""
    known = ebpf.endpoint(endpoint_number(sender.key))
    own = ground.link(sender.device_mac)
    if known is None or own is None:
        return  # said already
    led = _link(ground, known.endpoint.eni)
    if led is None or led.ifindex != own.ifindex:
        name = led.name if led is not None else f"link {known.endpoint.eni}, which is gone"
        text = f"the programs send {packet.source} by {name}; its ENI is {own.name}"
        yield fail(_WHERE, "redirect", text, RESTART_AGENT)
        return
    gateways = known.endpoint.gateways
    gateway = gateways.v4 if packet.source.version == 4 else gateways.v6
    if gateway is None:
        text = f"no gateway of IPv{packet.source.version} is known for {led.name}"
        yield fail(_WHERE, "redirect", text, RESTART_AGENT)
        return
    if not _has_program(ebpf, led, "from_eni"):
        text = f"{led.name} lacks program from_eni: answers go by the node's stack"
        yield fail(_WHERE, "programs", text, RESTART_AGENT)
        return
    yield ok(_WHERE, "redirect", f"by {led.name} to {gateway}, past the node's stack")
    yield from _neighbour(ground, led, gateway)
    yield ok(_WHERE, "MTU", _mtu(known))


def _mtu(known: EndpointView) -> str:
    mtu = known.endpoint.mtu_bytes
    return f"up to {mtu} bytes; the node's stack cuts or refuses what is larger"


def _neighbour(ground: Ground, eni: Link, gateway: IPAddress) -> Iterator[Hop]:
    end = (gateway, eni.name)
    known = next((one for one in ground.node.neighbours if (one.address, one.link) == end), None)
    if known is not None and known.state in ("failed", "incomplete"):
        remedy = "look at the ENI in the cloud: terway-cli mapping; is its vSwitch the right one?"
        yield fail("node", f"gateway {gateway}", f"it does not answer on {eni.name}", remedy)
    elif known is None:
        text = f"not asked yet on {eni.name}; the first packet does"
        yield unknown("node", f"gateway {gateway}", text)
    else:
        yield ok("node", f"gateway {gateway}", f"{known.mac or known.state}, {known.state}")


def _link(ground: Ground, ifindex: int) -> Link | None:
    return next((one for one in ground.node.links if one.ifindex == ifindex), None)


def _has_program(ebpf: DataPathView, link: Link, program: str) -> bool:
    found = ((one.ifindex, one.program) for one in ebpf.hooks if one.pod is None)
    return (link.ifindex, program) in found
