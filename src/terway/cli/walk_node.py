"""How does a pod's packet cross the node: host link, forwarding, rules, routes, the ENI's link?"""

from __future__ import annotations

from collections.abc import Iterator

from terway.cli.fib import Decision
from terway.cli.hops import (
    RESTART_AGENT,
    Ground,
    Hop,
    Packet,
    cloud_words,
    fail,
    ok,
    plug_words,
    unknown,
)
from terway.cli.walk_pod import is_exclusive, link_named, pod_name
from terway.cli.walk_trunk import tag_of
from terway.config.pod_networks import METADATA_ACCESS
from terway.datapath.exclusive import LEG_IFNAME
from terway.datapath.names import FROM_POD_PRIORITY, TO_POD_PRIORITY, table_of
from terway.datapath.reach import is_host_stack_rule, is_metadata_rule
from terway.model.address import family_of
from terway.model.attachment import Attachment
from terway.model.network import MAIN_TABLE, Link

_WHERE = "node"


def host_link(ground: Ground, attachment: Attachment) -> Iterator[Hop]:
    """Yield the node's end of a pod's veth."""
    view = ground.view(attachment)
    if view is None:
        return
    name = view.host_link
    link = link_named(ground.node, name)
    if link is None:
        text = f"the host end {name} of pod {pod_name(attachment)} is not there"
        yield fail(_WHERE, "host link", text, RESTART_AGENT)
    elif not link.is_up:
        yield fail(_WHERE, "host link", f"{name} is down", f"ip link set {name} up")
    elif link.alias and not link.alias.endswith(str(attachment.key)):
        text = f"{name} belongs to {link.alias!r}, another sandbox of the pod"
        yield fail(_WHERE, "host link", text, RESTART_AGENT)
    elif not _are_a_pair(ground, attachment, link):
        text = f"{name} and the pod's end are not the two ends of one veth"
        yield fail(_WHERE, "host link", text, RESTART_AGENT)
    else:
        yield ok(_WHERE, "host link", f"{name} is up")
        if view.guard_losses is not None:
            so_far = "; ".join(map(str, view.guard_losses)) or "nothing"
            yield ok(_WHERE, "source guard", f"the address is the pod's; dropped so far: {so_far}")


def _are_a_pair(ground: Ground, attachment: Attachment, host: Link) -> bool:
    view = ground.view(attachment)
    if view is None or view.seen is None:
        return False
    end = link_named(view.seen, LEG_IFNAME if is_exclusive(attachment) else attachment.key.ifname)
    return end is not None and host.peer_ifindex == end.ifindex


def forwarding(ground: Ground, packet: Packet, link: str) -> Iterator[Hop]:
    """Yield whether the node forwards what comes in by a link."""
    if packet.source.version == 4:
        paths = ("net/ipv4/ip_forward", f"net/ipv4/conf/{link}/forwarding")
    else:
        paths = ("net/ipv6/conf/all/forwarding", f"net/ipv6/conf/{link}/forwarding")
    for path in paths:
        if ground.sysctl(path) == "0":
            name = path.replace("/", ".") if "." not in link else path
            remedy = f"sysctl -w {name}=1"
            yield fail(_WHERE, "forwarding", f"{path} is 0", remedy)
            return
    yield ok(_WHERE, "forwarding", f"IPv{packet.source.version} is forwarded from {link}")


def eni_link(ground: Ground, attachment: Attachment) -> Iterator[Hop]:
    """Yield the link of the ENI that has the pod's addresses."""
    lease = attachment.lease
    link = ground.link(attachment.device_mac)
    what = f"link of {lease.eni_id}"
    if link is None:
        said = cloud_words(ground.snapshot, lease.eni_id)
        text = f"no link has the MAC {attachment.device_mac}; {said}"
        yield fail(_WHERE, what, text, plug_words(ground.snapshot, lease.eni_id))
    elif not link.is_up:
        remedy = f"ip link set {link.name} up; terwayd puts the routes back"
        yield fail(_WHERE, what, f"{link.name} is down", remedy)
    elif not link.has_carrier:
        text = f"{link.name} has no carrier: the VPC does not hold the other end"
        yield fail(_WHERE, what, text, "look at the ENI in the cloud: terway-cli mapping")
    else:
        yield ok(_WHERE, what, f"{link.name} is up, MTU {link.mtu_bytes}")
        yield from tag_of(ground, attachment, link)


def to_local_pod(
    ground: Ground, packet: Packet, chosen: Decision, target: Attachment
) -> Iterator[Hop]:
    """Yield whether a packet for a pod of this node is led to that pod."""
    view = ground.view(target)
    if view is None:
        return
    if chosen.route is not None and chosen.route.link == view.host_link:
        yield ok(_WHERE, "routing", str(chosen))
        return
    here = packet.destination
    bits, flag = here.max_prefixlen, _flag(packet)
    text = f"{here} is pod {pod_name(target)} on this node, but the packet goes: {chosen}"
    if not is_exclusive(target) and not _has_rule(ground, packet, to_pod=True):
        text = f"rule {TO_POD_PRIORITY} to {here} is missing. {text}"
        remedy = f"ip {flag}rule add to {here} priority {TO_POD_PRIORITY} lookup main"
    else:
        text = f"route {here}/{bits} dev {view.host_link} is missing. {text}"
        remedy = f"ip {flag}route replace {here}/{bits} dev {view.host_link}"
    yield fail(_WHERE, "routing", text, remedy)


def to_eni(
    ground: Ground, packet: Packet, chosen: Decision, attachment: Attachment
) -> Iterator[Hop]:
    """Yield whether a packet leaves by the one ENI that may carry its source address."""
    link = ground.link(attachment.device_mac)
    if link is None:
        return  # said already
    if chosen.route is not None and chosen.route.link == link.name:
        yield ok(_WHERE, "routing", str(chosen))
        yield from _gateway(ground, chosen)
        return
    table, flag, source = table_of(link.ifindex), _flag(packet), packet.source
    if not _has_rule(ground, packet, to_pod=False):
        text = f"rule {FROM_POD_PRIORITY} from {source} lookup {table} is missing, so the packet"
        text = f"{text} goes: {chosen}. {_dropped(chosen, packet)}"
        yield fail(_WHERE, "routing", text, ground.rule_words(source, link))
        return
    gateway = _gateway_of(ground, attachment, packet)
    text = f"table {table} of {link.name} has no way to {packet.destination}; it goes: {chosen}"
    via = f"via {gateway} " if gateway else ""
    remedy = f"ip {flag}route replace default {via}dev {link.name} table {table} onlink"
    yield fail(_WHERE, "routing", text, remedy)


def prohibited(packet: Packet, chosen: Decision) -> Iterator[Hop]:
    """Yield the rule that keeps a pod from what it may not reach."""
    rule = chosen.rule
    if rule is None or not rule.is_prohibit:
        return
    text = f"rule {rule.priority} prohibits {packet.source} to reach {packet.destination}"
    if is_metadata_rule(rule):
        text = f'{text}: the pod\'s annotation {METADATA_ACCESS} says "false"'
        remedy = "take the annotation away, and make the pod anew"
    else:
        flag, ends = _flag(packet), f"priority {rule.priority}"
        remedy = f"it is not Terway's: ip {flag}rule delete {ends}"
    yield fail(_WHERE, "routing", text, remedy)


def by_host_stack(ground: Ground, packet: Packet, chosen: Decision) -> Iterator[Hop]:
    """Yield what becomes of a packet to a range that host_stack_cidrs leave to the node."""
    if chosen.rule is None or not is_host_stack_rule(chosen.rule):
        return
    here = packet.destination
    text = f"{chosen.rule.destination} is one of host_stack_cidrs: {chosen}"
    if chosen.route is None or chosen.kind != "unicast":
        remedy = f"give the node a way: ip {_flag(packet)}route add {here} via …"
        yield fail(_WHERE, "host stack", text, remedy)
        return
    link = link_named(ground.node, chosen.route.link)
    if link is not None and not link.is_up:
        yield fail(_WHERE, "host stack", f"{link.name} is down", f"ip link set {link.name} up")
        return
    yield ok(_WHERE, "host stack", text)
    if not chosen.route.destination.prefixlen:
        text = "the node has no way of its own to it, only its default route"
        yield unknown(_WHERE, "beyond", f"{text}: is it configured? ip route get {here}")
        return
    text = f"what is behind {chosen.route.link} is not Terway's, and is not looked at"
    yield unknown(_WHERE, "beyond", f"{text}; it must know the way back to {packet.source}")


def _dropped(chosen: Decision, packet: Packet) -> str:
    if chosen.route is None or not chosen.route.link:
        return ""
    return f"The ENI of {chosen.route.link} does not have {packet.source}: the VPC drops it"


def _gateway_of(ground: Ground, attachment: Attachment, packet: Packet) -> str:
    journal = ground.snapshot.journal
    enis = {one.id: one.vswitch_id for one in journal.enis} if journal else {}
    vswitch_id = enis.get(attachment.lease.eni_id)
    for vswitch in journal.vswitches if journal else ():
        cidr = vswitch.cidr if packet.source.version == 4 else vswitch.ipv6_cidr
        if vswitch.id == vswitch_id and cidr is not None:
            return str(cidr[-3])
    return ""


def _has_rule(ground: Ground, packet: Packet, *, to_pod: bool) -> bool:
    if to_pod:
        return any(
            one.priority == TO_POD_PRIORITY
            and one.table == MAIN_TABLE
            and one.destination is not None
            and one.destination.prefixlen == one.destination.max_prefixlen
            and one.destination.network_address == packet.destination
            for one in ground.node.rules
        )
    return any(
        one.priority == FROM_POD_PRIORITY
        and one.source is not None
        and one.source.prefixlen == one.source.max_prefixlen
        and one.source.network_address == packet.source
        for one in ground.node.rules
    )


def _flag(packet: Packet) -> str:
    return "-6 " if family_of(packet.source).value == 6 else ""


def _gateway(ground: Ground, chosen: Decision) -> Iterator[Hop]:
    route = chosen.route
    if route is None or route.gateway is None:
        return
    end = (route.gateway, route.link)
    known = next((one for one in ground.node.neighbours if (one.address, one.link) == end), None)
    what = f"gateway {route.gateway}"
    if known is not None and known.state in ("failed", "incomplete"):
        text = f"it does not answer on {route.link}"
        remedy = "look at the ENI in the cloud: terway-cli mapping; is its vSwitch the right one?"
        yield fail(_WHERE, what, text, remedy)
    elif known is None:
        yield unknown(_WHERE, what, f"not asked yet on {route.link}; the first packet does")
    else:
        yield ok(_WHERE, what, f"{known.mac or known.state} on {route.link}, {known.state}")
