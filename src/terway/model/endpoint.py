"""An endpoint: one interface of a pod as the eBPF data path knows it, and its number.

The number is made of the attachment's key alone, so that whoever knows the key knows the number
without asking: a tool, a policy that is written before the pod is there, the next terwayd.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256
from typing import NewType

from terway.model.address import IPPair
from terway.model.attachment import AttachmentKey
from terway.model.ids import MacAddress

EndpointNumber = NewType("EndpointNumber", int)

_NO_MAC = MacAddress("00:00:00:00:00:00")
_NUMBERS = 0x7FFF_FFFF  # 0 is nobody, and the highest ones mean something else in some maps


class EndpointKind(IntEnum):
    """Where an endpoint's programs are (`enum endpoint_kind` of bpf/contract.h)."""

    VETH = 1
    IPVLAN = 2
    EXCLUSIVE = 3


def endpoint_number(key: AttachmentKey) -> EndpointNumber:
    """Return the number of the endpoint that an attachment is; never 0.

    Two keys of a node may have one number: among 250 pods, once in 70,000 nodes. The second one's
    ADD is refused, and the runtime comes again with another container id.
    """
    digest = sha256(f"endpoint {key}".encode()).digest()
    return EndpointNumber(int.from_bytes(digest[:4], "big") % _NUMBERS + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What the data path knows of one interface of a pod. Zero is no link."""

    number: EndpointNumber
    kind: EndpointKind
    addresses: IPPair
    gateways: IPPair = field(default_factory=IPPair)  # of its ENI's vSwitch
    eni: int = 0  # ifindex of the ENI that it shares
    leg: int = 0  # inside the pod: ifindex of an exclusive pod's second leg
    pod_mac: MacAddress = _NO_MAC
    link_mac: MacAddress = _NO_MAC
    mtu_bytes: int = 1500  # of the ENI, of IP packets
    has_metadata: bool = True  # whether it may reach the metadata service
    is_queued: bool = False  # what comes for it waits in its link's queue: it has a limit
