"""What does the kernel have of one pod, and how does that differ from plan? In every mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from terway.cli.read_facts import Ground
from terway.cli.snapshot import GuardLoss, PodView, QueueView
from terway.datapath.device import plan_take, verify_device
from terway.datapath.exclusive import (
    LEG_IFNAME,
    desired_device,
    desired_leg,
    has_leg,
    needs_device_table,
    with_device_table,
)
from terway.datapath.facts import ENILink
from terway.datapath.names import host_link_name
from terway.datapath.networks import needs_own_table, with_own_table
from terway.datapath.plan import plan_attach
from terway.datapath.shared import desired_of
from terway.datapath.trunk import has_vlan_device
from terway.datapath.verify import verify
from terway.linux import read
from terway.linux.device import read_device
from terway.linux.guard import read_drops
from terway.linux.inspect import Seen, read_seen
from terway.linux.queues import read_queues
from terway.linux.session import Session
from terway.model.address import IPPair
from terway.model.attachment import Attachment
from terway.model.errors import ConflictError, UsageError, VpcError
from terway.model.ids import MacAddress
from terway.model.interface import Mode
from terway.model.network import NODE, AttachmentState, Netns, Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class ENIs:
    """The pool's ENIs by MAC: the links on the node, and all gateways."""

    links: Mapping[MacAddress, ENILink]
    gateways: Mapping[MacAddress, IPPair]


def read_pod(
    session: Session, attachment: Attachment, enis: ENIs, ground: Ground | None
) -> PodView:
    """Return what there is of an attachment, and what is not as terwayd would make it."""
    host = host_link_name(attachment.key, attachment.pod)
    seen = _seen(session, attachment.netns)
    view = PodView(
        key=attachment.key,
        host_link=host,
        seen=seen,
        guard_losses=_guard_losses(session, host),
        queues=tuple(_queues(session, attachment, host, seen)),
    )
    if ground is None or seen is None:
        return view
    if attachment.spec.mode is Mode.EXCLUSIVE:
        return _exclusive(session, view, attachment, enis, ground)
    eni = enis.links.get(attachment.device_mac)
    if eni is None:
        text = f"no link has the MAC of ENI {attachment.lease.eni_id}"
        return replace(view, differences=(f"{text} ({attachment.device_mac})",))
    desired = desired_of(attachment, eni=eni, node=ground.facts)
    try:
        found, repairs = _veth(session, desired, attachment)
    except VpcError as error:
        return replace(view, differences=(str(error),))
    return replace(view, differences=_told(found, attachment), repairs=repairs)


def _told(differences: Iterable[str], attachment: Attachment) -> tuple[str, ...]:
    """Return differences in words; the path of a namespace says less than whose it is."""
    return tuple(one.replace(f"{attachment.netns}: ", "in the pod: ") for one in differences)


def _veth(
    session: Session, desired: AttachmentState, attachment: Attachment
) -> tuple[tuple[str, ...], tuple[Operation, ...]]:
    """Return what differs; repairs only where the veth is whole, as terwayd does."""
    actual = read.read_attachment(desired, session)
    if needs_own_table(attachment) and actual.pod_ifindex is not None:
        desired = with_own_table(desired, attachment, pod_ifindex=actual.pod_ifindex)
        actual = read.read_attachment(desired, session)
    found = tuple(map(str, verify(desired, actual)))
    return found, plan_attach(desired, actual) if found and actual.is_paired else ()


def _exclusive(
    session: Session, view: PodView, attachment: Attachment, enis: ENIs, ground: Ground
) -> PodView:
    """Return the view with what differs of the device and of the second leg."""
    own = attachment.spec.own_eni
    known = enis.gateways.get(attachment.lease.eni_mac, IPPair())
    gateways = known if own is None else own.gateways
    trunk = enis.links.get(attachment.device_mac)
    parent = trunk.name if trunk is not None and has_vlan_device(attachment) else ""
    device = desired_device(attachment, gateways=gateways, node=ground.facts, trunk=parent)
    try:
        state = read_device(device, session)
        if needs_device_table(attachment) and state.in_pod is not None:
            number = state.in_pod.ifindex
            device = with_device_table(device, attachment, gateways=gateways, ifindex=number)
            state = read_device(device, session)
        found = tuple(map(str, verify_device(device, state)))
        # A device that is elsewhere is brought back by terwayd alone: it must not be in the way.
        repairs = plan_take(device, state) if found and state.in_pod is not None else ()
        if ground.has_host_peer and has_leg(attachment):
            leg = desired_leg(attachment, gateways=gateways, node=ground.facts, trunk=parent)
            of_leg, mending = _veth(session, leg, attachment)
            found, repairs = (*found, *of_leg), (*repairs, *mending)
    except VpcError as error:
        return replace(view, differences=(str(error),))
    return replace(view, differences=_told(found, attachment), repairs=repairs)


def _guard_losses(session: Session, link: str) -> tuple[GuardLoss, ...] | None:
    try:
        drops = read_drops(session.namespace(NODE).sock, link)
    except (VpcError, OSError):
        return None  # no eBPF here, or not ours to read
    if drops is None:
        return None
    return tuple(
        GuardLoss(reason=why.name.lower().replace("_", "-"), meaning=why.meaning, packets=count)
        for why, count in drops.items()
        if count and why
    )


def _queues(
    session: Session, attachment: Attachment, host: str, seen: Seen | None
) -> Iterator[QueueView]:
    """Yield the queues of both directions. One in the pod holds what the pod sends."""
    ends = [(NODE, host)]
    if seen is not None:
        names = {one.name for one in seen.links}
        inside = (attachment.key.ifname, LEG_IFNAME)
        ends += [(Netns(attachment.netns), one) for one in inside if one in names]
    for netns, name in ends:
        namespace = session.namespace(netns)
        ifindex = namespace.index_of(name)
        for one in read_queues(namespace.sock, ifindex) if ifindex is not None else ():
            yield QueueView(
                link=name, is_in_pod=netns != NODE, dropped=one.dropped, waiting=one.waiting
            )


def _seen(session: Session, netns: str) -> Seen | None:
    try:
        return read_seen(session, Netns(netns))
    except (ConflictError, UsageError):
        return None
