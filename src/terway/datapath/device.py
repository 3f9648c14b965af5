"""How an ENI's device gets into a pod, and back to the node.

    node   eth1, down ─rename─► eni00163e…, down ──move──► pod   eni00163e… ─rename─► eth0, up
    node   eni00163e…, down ◄──move── eni00163e…, down ◄─rename─ pod   eth0

Each step can be the last: what is planned next starts from where the device is found. A VLAN
device of a member ENI is made in the pod and deleted there, instead of being moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from ipaddress import ip_network

from terway.datapath.diff import diff
from terway.datapath.exclusive import FREE_ALIAS, LEG_IFNAME, node_name_of
from terway.datapath.names import IN_POD_PRIORITY, is_eni_table
from terway.datapath.networks import is_stale_in_pod
from terway.datapath.verify import Difference, past_limits, verify_objects
from terway.model.device import Device, DeviceState, VlanPort
from terway.model.errors import ConflictError, UsageError
from terway.model.ids import MacAddress
from terway.model.network import (
    NODE,
    CreateVlan,
    DeleteLink,
    Link,
    LinkAddress,
    LinkSettings,
    MoveLink,
    Netns,
    NetObject,
    Operation,
    Put,
    Remove,
    RenameLink,
    RoutingRule,
)
from terway.model.traffic import SharedLimit, TrafficObject


def plan_take(device: Device, actual: DeviceState) -> tuple[Operation, ...]:
    """Return what brings the device into the pod, or mends it there. Nothing, when all is right.

    Raises UsageError when the pod has an interface of the name already, ConflictError when its
    namespace (code ENOENT) or the device (code ENODEV) is not there.
    """
    if actual.pod is None:
        raise ConflictError(f"network namespace {device.netns!r} is gone", code="ENOENT")
    if actual.in_pod is None or actual.in_pod.name != device.ifname:
        _require_free_name(device, actual)
    if actual.in_pod is not None:
        way = tuple(_into_its_name(device, actual.in_pod))
    elif device.vlan is not None:
        way = (_vlan_birth(device, device.vlan),)
    elif actual.on_node is not None:
        way = tuple(_into_pod(device, actual.on_node))
    else:
        raise ConflictError(f"the device {device.mac} of the ENI is not there", code="ENODEV")
    there = () if way else actual.pod
    changes = diff(
        device.pod, there, netns=device.netns, is_owned=partial(_is_limit, link=device.ifname)
    )
    return (*way, *changes.operations)


def _is_limit(one: NetObject, *, link: str) -> bool:
    """Return whether something of the device in the pod is ours to remove: a limit that was."""
    return isinstance(one, TrafficObject) and one.link == link


def _require_free_name(device: Device, actual: DeviceState) -> None:
    if device.ifname in actual.pod_links:
        text = f"interface {device.ifname!r} exists already in {device.netns}"
        raise UsageError(text, field="CNI_IFNAME", code="EEXIST")


def _vlan_birth(device: Device, vlan: VlanPort) -> CreateVlan:
    if not vlan.parent:
        raise ConflictError(f"the trunk of member {device.mac} is not there", code="ENODEV")
    wanted = LinkSettings(name=device.ifname, mac=device.mac, mtu_bytes=device.mtu_bytes)
    return CreateVlan(parent=vlan.parent, link=wanted, vlan_id=vlan.vlan_id, netns=device.netns)


def _into_pod(device: Device, found: Link) -> Iterator[Operation]:
    name = node_name_of(device.mac)
    yield Put(
        netns=NODE,
        object=LinkSettings(
            name=found.name,
            mac=_other_mac(device, found),
            mtu_bytes=device.mtu_bytes,
            is_up=False,
            alias=device.alias,
        ),
    )
    if found.name != name:
        yield RenameLink(netns=NODE, name=found.name, new_name=name)
    yield MoveLink(name=name, source=NODE, target=device.netns)
    yield RenameLink(netns=device.netns, name=name, new_name=device.ifname)


def _into_its_name(device: Device, found: Link) -> Iterator[Operation]:
    if found.name == device.ifname:
        return
    yield _down(device.netns, found)
    yield RenameLink(netns=device.netns, name=found.name, new_name=device.ifname)


def plan_return(device: Device, actual: DeviceState) -> tuple[Operation, ...]:
    """Return what brings the device back to the node, down. Nothing, when it is there so.

    A VLAN device is deleted. Raises ConflictError (code ENODEV) when it is in neither place.
    """
    if actual.in_pod is not None:
        rest = tuple(_without_rest(device, actual.pod or ()))
        if device.vlan is not None:
            return (*rest, DeleteLink(name=actual.in_pod.name, netns=device.netns, now=True))
        return (*rest, *_back_to_node(device, actual.in_pod))
    if device.vlan is not None:
        return ()
    if actual.on_node is not None:
        is_free = not actual.on_node.is_up and actual.on_node.alias == FREE_ALIAS
        return () if is_free else (_free(device, actual.on_node),)
    raise ConflictError(f"the device {device.mac} of the ENI is not there", code="ENODEV")


def _without_rest(device: Device, found: Iterable[NetObject]) -> Iterator[Remove]:
    """Take what would stay without the device: a namespace may be used again, and stays clean.

    Rules that lead to the device's table, and from both legs what they share.
    """
    for one in found:
        if is_stale_in_pod(one, link=device.ifname) or _is_by_its_table(one, device):
            yield Remove(netns=device.netns, object=one)
        if isinstance(one, SharedLimit) and one.link == device.ifname:
            for link in (LEG_IFNAME, device.ifname):
                yield Remove(netns=device.netns, object=replace(one, link=link))


def _is_by_its_table(one: NetObject, device: Device) -> bool:
    if not isinstance(one, RoutingRule) or one.priority != IN_POD_PRIORITY or one.source is None:
        return False
    own = {ip_network(part.address.ip) for part in device.pod if isinstance(part, LinkAddress)}
    return one.source in own and is_eni_table(one.table)


def _back_to_node(device: Device, found: Link) -> Iterator[Operation]:
    name = node_name_of(device.mac)
    yield _down(device.netns, found)
    if found.name != name:
        yield RenameLink(netns=device.netns, name=found.name, new_name=name)
    yield MoveLink(name=name, source=device.netns, target=NODE)
    yield _free(device, replace(found, name=name))


def _down(netns: Netns, found: Link) -> Put:
    return Put(netns=netns, object=LinkSettings(name=found.name, is_up=False))


def _free(device: Device, found: Link) -> Put:
    mac = _other_mac(device, found)
    wanted = LinkSettings(name=found.name, mac=mac, is_up=False, alias=FREE_ALIAS)
    return Put(netns=NODE, object=wanted)


def _other_mac(device: Device, found: Link) -> MacAddress | None:
    """Return the ENI's MAC where a pod has changed it: the VPC knows the ENI by it.

    Only then, because not every driver takes one, even the same, while the link is up.
    """
    return None if found.mac == device.mac else device.mac


def verify_device(device: Device, actual: DeviceState) -> tuple[Difference, ...]:
    """Return how the device differs from what it should be; empty when it is in the pod so."""
    if actual.pod is not None and actual.in_pod is not None:
        missing = verify_objects(device.pod, actual.pod, netns=device.netns)
        return (*missing, *past_limits(device.pod, actual.pod, device.netns, device.ifname))
    found = "no network namespace" if actual.pod is None else "no such device"
    return (
        Difference(
            where=device.netns,
            object=f"link {device.ifname}",
            wanted=f"{'the ENI' if device.vlan is None else 'the member'}'s device {device.mac}",
            found=f"{found}; the node has it" if actual.on_node is not None else found,
        ),
    )
