"""Which packets may leave a pod: the guard on the node's end of each veth.

Source address, source MAC, and what ARP and neighbour discovery claim must be the pod's own. The
MAC is the one that the pod's end has now: a later plugin of the chain (`tuning`) may change it, and
the link-local address with it. Behind the veth neither means anything to anybody but the node.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv6Address

from terway.model.address import IPPair
from terway.model.attachment import Attachment
from terway.model.ids import MacAddress
from terway.model.network import (
    NODE,
    AttachmentState,
    LinkAddress,
    LinkSettings,
    NetObject,
    Put,
)
from terway.model.programs import PodPrograms
from terway.model.traffic import Guard


def guard_of(link: str, *, mac: MacAddress, addresses: IPPair) -> Guard:
    """Return the guard of `link`, whose other end has `mac` and `addresses`."""
    return Guard(link=link, mac=mac, addresses=addresses, link_local=link_local_of(mac))


def guard_for(attachment: Attachment, link: str, *, mac: MacAddress) -> Guard:
    """Return the guard of an attachment's `link`, whoever made that."""
    guard = guard_of(link, mac=mac, addresses=attachment.lease.addresses)
    return replace(guard, is_on_living_link=attachment.spec.macs is not None)


def link_local_of(mac: MacAddress) -> IPv6Address:
    """Return the link-local address that a link with `mac` gives itself (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    interface = bytes((octets[0] ^ 0x02, *octets[1:3], 0xFF, 0xFE, *octets[3:]))
    return IPv6Address(b"\xfe\x80" + bytes(6) + interface)


def suited(desired: AttachmentState, actual: AttachmentState) -> AttachmentState:
    """Return `desired` with its guard made for the pod's end as it is.

    Only where both ends are known to be one veth: whose else would the end be?
    """
    if not actual.is_paired or actual.pod is None:
        return desired
    name = desired.birth.peer.name
    end = next(
        (one for one in actual.pod if isinstance(one, LinkSettings) and one.name == name), None
    )
    if end is None or end.mac is None or _is_planned(desired, end.mac, actual.pod):
        return desired
    link_local = _own_link_local(actual.pod, name) or link_local_of(end.mac)
    return replace(
        desired,
        node=tuple(_of_end(one, mac=end.mac, link_local=link_local) for one in desired.node),
    )


def _of_end(one: NetObject, *, mac: MacAddress, link_local: IPv6Address) -> NetObject:
    match one:
        case Guard():
            return replace(one, mac=mac, link_local=link_local)
        case PodPrograms(endpoint=endpoint):
            return replace(one, endpoint=replace(endpoint, pod_mac=mac))
        case _:
            return one


def _is_planned(desired: AttachmentState, mac: MacAddress, pod: Iterable[NetObject]) -> bool:
    own = _own_link_local(pod, desired.birth.peer.name)
    return mac == desired.birth.peer.mac and own in (None, link_local_of(mac))


def _own_link_local(pod: Iterable[NetObject], link: str) -> IPv6Address | None:
    addresses = (one.address.ip for one in pod if isinstance(one, LinkAddress) and one.link == link)
    return next((ip for ip in addresses if isinstance(ip, IPv6Address) and ip.is_link_local), None)


def plan_guard(desired: AttachmentState, actual: AttachmentState) -> tuple[Put, ...]:
    """Return what makes guard and programs fit the pod's end as it is. Nothing, when they do."""
    if not actual.is_paired:
        return ()
    guards = (one for one in suited(desired, actual).node if isinstance(one, Guard | PodPrograms))
    return tuple(Put(netns=NODE, object=one) for one in guards if one not in actual.node)
