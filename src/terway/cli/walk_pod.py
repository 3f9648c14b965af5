"""How does a packet leave a pod, and how does it enter one? The hops inside its namespace."""

from __future__ import annotations

from collections.abc import Iterator

from terway.cli.fib import Decision, decide
from terway.cli.hops import Ground, Hop, Packet, cloud_words, fail, ok, plug_words
from terway.cli.snapshot import PodView
from terway.linux.inspect import Seen
from terway.model.address import IPAddress
from terway.model.attachment import Attachment
from terway.model.interface import Mode
from terway.model.network import Link

_SEE = "mapping; terway-cli metadata"


def pod_name(attachment: Attachment) -> str:
    """Return the pod of an attachment, as people name it."""
    return str(attachment.pod) if attachment.pod else attachment.key.container_id


def _recreate(attachment: Attachment) -> str:
    if attachment.pod is None:
        return "start the container again"
    return f"kubectl -n {attachment.pod.namespace} delete pod {attachment.pod.name}"


def in_namespace(ground: Ground, attachment: Attachment, address: IPAddress) -> Iterator[Hop]:
    """Yield namespace, link and address of a pod."""
    where, ifname = f"pod {pod_name(attachment)}", attachment.key.ifname
    view = ground.view(attachment)
    if view is None or view.seen is None:
        text = f"the network namespace {attachment.netns} is gone; its pod does not run any more"
        yield fail(where, "namespace", text, _recreate(attachment))
        return
    link = link_named(view.seen, ifname)
    if link is None:
        yield _without_link(ground, attachment)
        return
    if not link.is_up:
        enter = f"nsenter --net={attachment.netns} ip link set {ifname} up"
        yield fail(where, "link", f"{ifname} is down", enter)
        return
    if is_exclusive(attachment) and not link.has_carrier:
        text = f"{ifname}, the ENI's device, has no carrier: the VPC does not hold the other end"
        yield fail(where, "link", text, "look at the ENI in the cloud: terway-cli mapping")
        return
    if not any(one.link == ifname and one.address.ip == address for one in view.seen.addresses):
        enter = f"nsenter --net={attachment.netns} ip address add {address}/{address.max_prefixlen}"
        text = f"{ifname} does not have {address}"
        yield fail(where, "address", text, f"{enter} dev {ifname}")
        return
    yield ok(where, "link and address", f"{ifname} is up and has {address}")


def is_exclusive(attachment: Attachment) -> bool:
    """Return whether the pod has an ENI of its own."""
    return attachment.spec.mode is Mode.EXCLUSIVE


def _without_link(ground: Ground, attachment: Attachment) -> Hop:
    """Return the hop of a pod that does not have its link."""
    where, remedy = f"pod {pod_name(attachment)}", _recreate(attachment)
    text = f"there is no link {attachment.key.ifname} in its namespace"
    if is_exclusive(attachment):
        link, eni_id = ground.link(attachment.lease.eni_mac), attachment.lease.eni_id
        if link is not None:
            text = f"{text}: the device of {eni_id} is on the node, as {link.name}"
        else:
            text = (
                f"{text}, and {eni_id} is not on the node; {cloud_words(ground.snapshot, eni_id)}"
            )
            remedy = f"{plug_words(ground.snapshot, eni_id)}; terwayd brings it into the pod"
    return fail(where, "link", text, remedy)


def link_named(seen: Seen, name: str) -> Link | None:
    """Return the link of a name, None when there is none."""
    return next((one for one in seen.links if one.name == name), None)


def out_of_pod(ground: Ground, attachment: Attachment, packet: Packet) -> Iterator[Hop]:
    """Yield the pod's own routing decision, and whom it takes for its gateway."""
    where = f"pod {pod_name(attachment)}"
    view = ground.view(attachment)
    if view is None or view.seen is None:
        return  # said already
    chosen = pod_decision(view.seen, packet)
    if chosen.route is None or chosen.kind not in ("unicast", "local"):
        text = f"its namespace has no way to {sent_to(packet)}: {chosen}"
        yield fail(where, "route", text, _recreate(attachment))
        return
    other = _other_interface(ground, attachment, chosen)
    if other:
        text = f"{packet.source} is of {attachment.key.ifname}, but the packet leaves by {other}"
        yield fail(where, "route", f"{text}: its guard drops it", _recreate(attachment))
        return
    yield ok(where, "route", str(chosen))
    yield from _gateway(view.seen, attachment, chosen, ground)


def _other_interface(ground: Ground, attachment: Attachment, chosen: Decision) -> str:
    """Return the interface of another attachment of the pod by which a packet leaves."""
    if chosen.route is None or chosen.route.link == attachment.key.ifname:
        return ""
    others = {one.key.ifname for one in ground.siblings(attachment)}
    return chosen.route.link if chosen.route.link in others else ""


def sent_to(packet: Packet) -> IPAddress:
    """Return where the pod itself sends a packet: the service's address before translation."""
    return packet.service or packet.destination


def pod_decision(seen: Seen, packet: Packet) -> Decision:
    """Return the pod's own decision about a packet of its."""
    return decide(seen, sent_to(packet), source=packet.source)


def _gateway(seen: Seen, attachment: Attachment, chosen: Decision, ground: Ground) -> Iterator[Hop]:
    route, where = chosen.route, f"pod {pod_name(attachment)}"
    view = ground.view(attachment)
    if route is None or route.gateway is None or view is None:
        return
    ends = ((one.address, one.link) for one in seen.neighbours)
    known = dict(zip(ends, seen.neighbours, strict=True)).get((route.gateway, route.link))
    own = link_named(seen, route.link)
    if own is not None and own.mac == attachment.lease.eni_mac:
        if known is not None and known.state == "failed":
            text = f"the VPC's gateway {route.gateway} does not answer on {route.link}"
            remedy = f"is the ENI InUse, and its vSwitch the right one? terway-cli {_SEE}"
            yield fail(where, "gateway", text, remedy)
        return
    host = link_named(ground.node, view.host_link)
    enter = f"nsenter --net={attachment.netns} ip neighbour replace {route.gateway}"
    if known is not None and host is not None and known.mac not in (None, host.mac):
        text = f"it takes {known.mac} for its gateway; {host.name} has {host.mac}"
        remedy = f"{enter} dev {route.link} lladdr {host.mac} nud permanent"
        yield fail(where, "gateway's MAC", text, remedy)
    elif known is not None and known.state == "failed":
        text = f"its gateway {route.gateway} does not answer on {route.link}"
        mac = f" lladdr {host.mac} nud permanent" if host is not None else ""
        yield fail(where, "gateway's MAC", text, f"{enter} dev {route.link}{mac}")


def limits(ground: Ground, attachment: Attachment, *, is_sender: bool) -> Iterator[Hop]:
    """Yield what the pod's bandwidth limit has lost, in the direction of the packet."""
    view = ground.view(attachment)
    for queue in view.queues if view is not None else ():
        if queue.is_in_pod is not is_sender:
            continue
        what = "egress limit" if is_sender else "ingress limit"
        lost = f"{queue.dropped} packets lost so far" if queue.dropped else "nothing lost so far"
        text = f"a queue on {queue.link} holds the pod to its bandwidth; {lost}"
        yield ok(f"pod {pod_name(attachment)}", what, text)


def losses(pod: str, view: PodView) -> Iterator[str]:
    """Yield what a pod has lost to its source guard and its bandwidth limits."""
    for lost in view.guard_losses or ():
        yield f"the source guard of {pod} dropped packets: {lost}"
    for queue in view.queues:
        if queue.dropped:
            way = "sends" if queue.is_in_pod else "receives"
            text = f"the limit on what {pod} {way} has lost {queue.dropped} packets"
            yield f"{text} on {queue.link}; more than the limit is sent"
