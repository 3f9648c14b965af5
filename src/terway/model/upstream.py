"""What upstream Terway's journal says of a pod: who it is, where, and what each interface has.

Source: upstream Terway, types/daemon/res.go (PodResources) and rpc/rpc.proto (NetConf).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from terway.model.address import IPNetwork, IPPair
from terway.model.attachment import PodRef
from terway.model.ids import ContainerId, ENIId, MacAddress
from terway.model.interface import UNLIMITED, Bandwidth, NetworkPriority

_UNKNOWN, _NONE = ENIId(""), IPPair()


class UpstreamType(Enum):
    """How a pod got its network, spelt as upstream's journal spells it."""

    ENI_MULTI_IP = "ENIMultiIP"  # addresses of a shared ENI, or a member of the trunk
    VPC_ENI = "VPCENI"  # an ENI of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamInterface:
    """One interface of a pod. `device_mac` is the MAC of the device that carries its packets.

    For a member of the trunk that is the trunk's, and `vlan_id` is not 0. `eni_id` is empty where
    the journal does not say it: of ENIs that come by a PodENI it never does.
    """

    ifname: str
    device_mac: MacAddress
    addresses: IPPair
    eni_id: ENIId = _UNKNOWN
    gateways: IPPair = _NONE
    ranges: tuple[IPNetwork, ...] = ()  # of its vSwitch
    vlan_id: int = 0
    bandwidth: Bandwidth = UNLIMITED
    priority: NetworkPriority | None = None
    has_default_route: bool = True
    routes: tuple[IPNetwork, ...] = ()
    is_erdma: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamPod:
    """One record of the journal. `netns` is a path as CNI_NETNS gave it, empty in old records."""

    pod: PodRef
    type: UpstreamType
    container_id: ContainerId
    netns: str
    has_pod_eni: bool
    interfaces: tuple[UpstreamInterface, ...]

    def __str__(self) -> str:
        return str(self.pod)
