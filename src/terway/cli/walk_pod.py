"""How does a packet leave a pod, and how does it enter one? The hops inside its namespace."""

from __future__ import annotations

from collections.abc import Iterator

from terway.cli.fib import Decision, decide
from terway.cli.hops import Ground, Hop, Packet, fail, ok
from terway.linux.inspect import Seen
from terway.model.address import IPAddress
from terway.model.attachment import Attachment
from terway.model.network import Link


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
        text = f"there is no link {ifname} in its namespace"
        yield fail(where, "link", text, _recreate(attachment))
        return
    if not link.is_up:
        enter = f"nsenter --net={attachment.netns} ip link set {ifname} up"
        yield fail(where, "link", f"{ifname} is down", enter)
        return
    if not any(one.link == ifname and one.address.ip == address for one in view.seen.addresses):
        enter = f"nsenter --net={attachment.netns} ip address add {address}/{address.max_prefixlen}"
        text = f"{ifname} does not have {address}"
        yield fail(where, "address", text, f"{enter} dev {ifname}")
        return
    yield ok(where, "link and address", f"{ifname} is up and has {address}")


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
        text = f"its namespace has no way to {packet.destination}: {chosen}"
        yield fail(where, "route", text, _recreate(attachment))
        return
    yield ok(where, "route", str(chosen))
    yield from _gateway(view.seen, attachment, chosen, ground)


def pod_decision(seen: Seen, packet: Packet) -> Decision:
    """Return the pod's own decision about a packet of its."""
    return decide(seen, packet.destination, source=packet.source)


def _gateway(seen: Seen, attachment: Attachment, chosen: Decision, ground: Ground) -> Iterator[Hop]:
    route, where = chosen.route, f"pod {pod_name(attachment)}"
    view = ground.view(attachment)
    if route is None or route.gateway is None or view is None:
        return
    host = link_named(ground.node, view.host_link)
    known = next(
        (one for one in seen.neighbours if (one.address, one.link) == (route.gateway, route.link)),
        None,
    )
    enter = f"nsenter --net={attachment.netns} ip neighbour replace {route.gateway}"
    if known is not None and host is not None and known.mac not in (None, host.mac):
        own = link_named(seen, route.link)
        if own is not None and own.mac == attachment.lease.eni_mac:
            return  # the ENI itself is in the pod: its gateway is the VPC's
        text = f"it takes {known.mac} for its gateway; {host.name} has {host.mac}"
        remedy = f"{enter} dev {route.link} lladdr {host.mac} nud permanent"
        yield fail(where, "gateway's MAC", text, remedy)
    elif known is not None and known.state == "failed":
        text = f"its gateway {route.gateway} does not answer on {route.link}"
        mac = f" lladdr {host.mac} nud permanent" if host is not None else ""
        yield fail(where, "gateway's MAC", text, f"{enter} dev {route.link}{mac}")
