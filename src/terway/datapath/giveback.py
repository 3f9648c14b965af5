"""How is a pod of ours said in the words of upstream Terway, so that it goes on with it?

The layout of links, routes and rules is the same, so nearly every pod can be given back. An IPvlan
child cannot: upstream has no data path any more that knows one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from terway.datapath.trunk import has_vlan_device
from terway.model.address import IPNetwork, IPPair
from terway.model.attachment import Attachment, AttachmentKey, PodRef
from terway.model.eni import VSwitch
from terway.model.ids import ENIId, VSwitchId
from terway.model.interface import Mode
from terway.model.upstream import UpstreamInterface, UpstreamPod, UpstreamType


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """What upstream is to know, and the pods that it cannot have, each with the reason."""

    pods: tuple[UpstreamPod, ...]
    kept: tuple[tuple[str, str], ...]


def give_back(
    attachments: Iterable[Attachment],
    vswitch_of: Mapping[ENIId, VSwitchId],
    vswitches: Iterable[VSwitch],
    *,
    tagging_lacks: str = "",
) -> Returned:
    """Return the attachments as upstream's pods; `vswitch_of` and `vswitches` give their ranges.

    `tagging_lacks` says why the kernel cannot tag members of a trunk as upstream does, if so.
    """
    ranges = {one.id: one for one in vswitches}
    held = tuple(attachments)
    owners = dict.fromkeys(one.owner for one in held)
    pods: list[UpstreamPod] = []
    kept: list[tuple[str, str]] = []
    for owner in owners:
        family = _family(held, owner)
        why = _obstacle(family, tagging_lacks)
        if why:
            kept.append((str(family[0].pod or owner), why))
        else:
            pods.append(_pod(family, vswitch_of, ranges))
    return Returned(pods=tuple(pods), kept=tuple(kept))


def _family(held: Iterable[Attachment], owner: AttachmentKey) -> tuple[Attachment, ...]:
    found = (one for one in held if one.owner == owner)
    return tuple(sorted(found, key=lambda one: (one.key != owner, one.key)))


def _obstacle(family: tuple[Attachment, ...], tagging_lacks: str) -> str:
    if family[0].pod is None:
        return "Kubernetes does not know it, and upstream knows pods alone"
    if any(one.spec.mode is Mode.IPVLAN for one in family):
        return "it is an IPvlan child, which upstream does not know any more: restart the pod"
    if tagging_lacks and any(map(is_tagged_member, family)):
        return (
            "it is a member of a trunk, and this kernel has not upstream's filters "
            f"({tagging_lacks}): delete the pod, and let it start on another node"
        )
    return ""


def is_tagged_member(one: Attachment) -> bool:
    """Return whether the node tags what an attachment sends: a VLAN device does it by itself."""
    own = one.spec.own_eni
    is_member = own is not None and own.trunk_mac is not None and not has_vlan_device(one)
    return is_member and not one.spec.is_left_alone


def _pod(
    family: tuple[Attachment, ...],
    vswitch_of: Mapping[ENIId, VSwitchId],
    ranges: Mapping[VSwitchId, VSwitch],
) -> UpstreamPod:
    first = family[0]
    is_exclusive = first.spec.mode is Mode.EXCLUSIVE
    assert first.pod is not None  # no obstacle
    return UpstreamPod(
        pod=PodRef(namespace=first.pod.namespace, name=first.pod.name, uid=first.pod.uid),
        type=UpstreamType.VPC_ENI if is_exclusive else UpstreamType.ENI_MULTI_IP,
        container_id=first.key.container_id,
        netns=first.netns,
        has_pod_eni=first.spec.own_eni is not None or is_exclusive,
        interfaces=tuple(
            _interface(one, ranges.get(vswitch_of.get(one.lease.eni_id, VSwitchId(""))))
            for one in family
        ),
    )


def _interface(one: Attachment, vswitch: VSwitch | None) -> UpstreamInterface:
    spec = one.spec
    return UpstreamInterface(
        ifname=one.key.ifname,
        device_mac=one.device_mac,
        addresses=one.lease.addresses,
        eni_id=ENIId("") if spec.own_eni is not None else one.lease.eni_id,
        gateways=_gateways(vswitch) if spec.own_eni is None else spec.own_eni.gateways,
        ranges=_ranges(vswitch),
        vlan_id=0 if spec.own_eni is None else spec.own_eni.vlan_id,
        bandwidth=spec.bandwidth,
        priority=spec.priority,
        has_default_route=spec.has_default_route,
        routes=spec.routes,
    )


def _ranges(vswitch: VSwitch | None) -> tuple[IPNetwork, ...]:
    if vswitch is None:
        return ()
    return (vswitch.cidr,) if vswitch.ipv6_cidr is None else (vswitch.cidr, vswitch.ipv6_cidr)


def _gateways(vswitch: VSwitch | None) -> IPPair:
    if vswitch is None:
        return IPPair()
    v6 = None if vswitch.ipv6_cidr is None else vswitch.ipv6_cidr[-3]
    return IPPair(v4=vswitch.cidr[-3], v6=v6)  # as `gateway_of`
