"""Can a pod of upstream Terway be taken over as it runs? By what its journal and the kernel say.

record ─► draft: the attachment that it would be ─► what the kernel has there ─► verdict

TAKEN       its veth, or its ENI's device, is there with its addresses: ours from now on
LEFT_ALONE  it runs, by a way that is not ours: its addresses are kept for it, nothing is touched
GONE        its namespace has ended, or is another pod's: its addresses rest, and are free then
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum

from terway.datapath.exclusive import desired_leg, has_leg
from terway.datapath.facts import ENILink, NodeFacts
from terway.datapath.names import host_link_name
from terway.datapath.shared import desired_of
from terway.model.address import Family, IPPair
from terway.model.attachment import Attachment, AttachmentKey, Lease
from terway.model.ids import ENIId, MacAddress
from terway.model.interface import InterfaceSpec, LinkMacs, Mode, OwnENI
from terway.model.moment import Moment
from terway.model.network import AttachmentState, LinkAddress, LinkSettings, NetObject
from terway.model.upstream import UpstreamInterface, UpstreamPod, UpstreamType

NETWORK = "terway-chainer"  # the list that upstream's terway-cli writes

_NOWHERE = ENILink(name="", ifindex=0, mac=MacAddress(""), gateways=IPPair())
_ANY_NODE = NodeFacts(addresses=IPPair(), uplink="", families=(Family.V4, Family.V6))


class Outcome(Enum):
    """What becomes of a pod."""

    TAKEN = "taken"
    LEFT_ALONE = "left alone"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of a pod of upstream, and why if it is not taken over."""

    pod: UpstreamPod
    outcome: Outcome
    attachments: tuple[Attachment, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerENI:
    """The ENI whose addresses an interface has; of a member of a trunk, the member."""

    id: ENIId
    mac: MacAddress
    gateways: IPPair


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What the kernel has of one interface.

    `found` is read by `place_of_draft`; `has_device` says that the ENI's own device is in the pod,
    `has_programs` that another data path has programs at the link.
    """

    found: AttachmentState
    has_device: bool = False
    has_programs: bool = False


def draft(
    pod: UpstreamPod, interface: UpstreamInterface, eni: OwnerENI, *, boot_id: str
) -> Attachment:
    """Return the attachment that an interface of a pod of upstream would be.

    Whoever asks for it to be undone asks later than it was made: it is dated to the boot.
    """
    first = pod.interfaces[0]
    is_exclusive = pod.type is UpstreamType.VPC_ENI
    return Attachment(
        key=AttachmentKey(container_id=pod.container_id, ifname=interface.ifname),
        network=NETWORK,
        netns=pod.netns,
        pod=pod.pod,
        lease=Lease(eni_id=eni.id, eni_mac=eni.mac, addresses=interface.addresses),
        made_at=Moment(boot_id=boot_id, seconds=0.0),
        spec=InterfaceSpec(
            mode=Mode.EXCLUSIVE if is_exclusive else Mode.VETH,
            parent="" if interface is first else first.ifname,
            has_default_route=interface.has_default_route or len(pod.interfaces) == 1,
            is_one_of_several=len(pod.interfaces) > 1,
            routes=interface.routes,
            bandwidth=interface.bandwidth,
            priority=interface.priority,
            own_eni=_own_eni(pod, interface, eni),
        ),
    )


def _own_eni(pod: UpstreamPod, interface: UpstreamInterface, eni: OwnerENI) -> OwnENI | None:
    if not pod.has_pod_eni:
        return None
    trunk = interface.device_mac if interface.vlan_id else None
    return OwnENI(gateways=eni.gateways, trunk_mac=trunk, vlan_id=interface.vlan_id)


def place_of_draft(one: Attachment) -> AttachmentState:
    """Return where the kernel is to be read for a draft."""
    if one.spec.mode is Mode.EXCLUSIVE:
        return desired_leg(one, node=_ANY_NODE)
    return desired_of(one, eni=_NOWHERE, node=_ANY_NODE)


def host_link_of(one: Attachment) -> str:
    """Return the name that upstream gave the node's end of a draft's veth: as ours."""
    return host_link_name(one.key, one.pod)


def judge(pod: UpstreamPod, drafts: Iterable[Attachment], sights: Iterable[Sight]) -> Verdict:
    """Return what becomes of a pod; a pod is taken over as a whole or not at all."""
    both = tuple(zip(drafts, sights, strict=True))
    if any(sight.found.pod is None for _, sight in both):
        return Verdict(pod=pod, outcome=Outcome.GONE, why="its network namespace has ended")
    if not all(_has_addresses(one, sight) for one, sight in both):
        why = "the namespace at its path has not its address, or ENI: it is another's by now"
        return Verdict(pod=pod, outcome=Outcome.GONE, why=why)
    why = next((text for one, sight in both if (text := _obstacle(one, sight))), "")
    if why:
        left = tuple(_left_alone(one) for one, _ in both)
        return Verdict(pod=pod, outcome=Outcome.LEFT_ALONE, attachments=left, why=why)
    taken = tuple(_with_macs(one, sight) for one, sight in both)
    return Verdict(pod=pod, outcome=Outcome.TAKEN, attachments=taken)


def _has_addresses(one: Attachment, sight: Sight) -> bool:
    if one.spec.mode is Mode.EXCLUSIVE:
        return sight.has_device
    ifname = sight.found.birth.peer.name
    there = {
        held.address.ip
        for held in sight.found.pod or ()
        if isinstance(held, LinkAddress) and held.link == ifname
    }
    return there.issuperset(one.lease.addresses)


def _obstacle(one: Attachment, sight: Sight) -> str:
    """Return why an interface cannot be taken over, empty where it can."""
    if one.spec.mode is Mode.EXCLUSIVE:
        return ""
    if not one.lease.eni_id:
        return "no PodENI tells of which member ENI its address is"
    if not sight.found.is_paired:
        return (
            f"{one.key.ifname} is no veth of {host_link_of(one)}: an IPvlan child, or a VLAN link"
        )
    if sight.has_programs:
        return f"{host_link_of(one)} has eBPF programs of datapathv2, with its connections in them"
    return ""


def _left_alone(one: Attachment) -> Attachment:
    spec = replace(one.spec, mode=Mode.VETH, is_left_alone=True)
    return replace(one, spec=spec)


def _with_macs(one: Attachment, sight: Sight) -> Attachment:
    found = sight.found
    if not found.is_paired or (one.spec.mode is Mode.EXCLUSIVE and not has_leg(one)):
        return one
    host, pod = found.birth.host.name, found.birth.peer.name
    macs = LinkMacs(host=_mac_of(host, found.node), pod=_mac_of(pod, found.pod or ()))
    return replace(one, spec=replace(one.spec, macs=macs))


def _mac_of(link: str, objects: Iterable[NetObject]) -> MacAddress:
    """Return the MAC of an end of a veth that is there whole."""
    links = (one for one in objects if isinstance(one, LinkSettings) and one.name == link)
    return next(one.mac for one in links if one.mac is not None)


def without_doubles(verdicts: Collection[Verdict]) -> Iterator[Verdict]:
    """Yield verdicts of which no two have an address: what is taken goes first, then by name.

    Upstream's journal has one record for each pod; an address in two is one that a pod lost.
    """
    order = list(Outcome)
    held: set[object] = set()
    for one in sorted(verdicts, key=lambda one: (order.index(one.outcome), str(one.pod))):
        mine = {address for made in one.attachments for address in made.lease.addresses}
        if held.isdisjoint(mine):
            held |= mine
            yield one
        else:
            why = "its address is another pod's"
            yield replace(one, outcome=Outcome.GONE, attachments=(), why=why)
