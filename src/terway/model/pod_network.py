"""What can a pod's interface be asked to be, and for which pods is that so?

The words of the annotation `pod-networks` and of PodNetworking, as values. `config` reads them,
`podeni` decides by them; the node's own part is `model.interface`.
Source: AliyunContainerService/terway, types/controlplane (PodNetworks) and PodNetworking v1beta1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from terway.model.address import IPNetwork
from terway.model.ids import SecurityGroupId, VSwitchId, ZoneId
from terway.model.selector import Labels, Selector

PRIMARY_INTERFACE = "eth0"


class TrafficMode(Enum):
    """Of an ENI: HighPerformance is one with RDMA."""

    STANDARD = "Standard"
    HIGH_PERFORMANCE = "HighPerformance"


class ENIOption(Enum):
    """How an ENI comes to the pod: as the node has it, whole, or as a member of a trunk."""

    DEFAULT = "Default"
    ENI = "ENI"
    TRUNK = "Trunk"


class VSwitchChoice(Enum):
    """Which of several vSwitches; nothing said is ordered."""

    UNSAID = ""
    ORDERED = "ordered"
    RANDOM = "random"
    MOST = "most"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """How long an ENI stays when its pod is gone.

    An Elastic one goes with the pod. A Fixed one waits for a pod of the same name: `ttl_s` seconds
    since the last one was seen, or for ever if that is None.
    """

    is_fixed: bool = False
    ttl_s: float | None = None


ELASTIC = Lifetime()
FOR_EVER = Lifetime(is_fixed=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodNetwork:
    """One interface that a pod asks for, or that is asked for it. Empty: whatever is the default.

    `interface` is empty in a PodNetworking, which many pods share.
    """

    interface: str = ""
    vswitch_ids: tuple[VSwitchId, ...] = ()
    security_group_ids: tuple[SecurityGroupId, ...] = ()
    routes: tuple[IPNetwork, ...] = ()
    has_default_route: bool = False
    traffic_mode: TrafficMode = TrafficMode.STANDARD
    eni: ENIOption = ENIOption.DEFAULT
    vswitch_choice: VSwitchChoice = VSwitchChoice.UNSAID
    resource_group_id: str = ""
    lifetime: Lifetime = ELASTIC

    @property
    def is_erdma(self) -> bool:
        """Return whether it is to have RDMA."""
        return self.traffic_mode is TrafficMode.HIGH_PERFORMANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRequest:
    """One interface, by the name of a PodNetworking: an entry of `pod-networks-request`."""

    interface: str
    networking: str
    routes: tuple[IPNetwork, ...] = ()
    has_default_route: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the annotations of a pod ask for: one of these, or nothing.

    `networking` is the name of a PodNetworking. `has_eni` is what `pod-eni` says: None if it says
    nothing.
    """

    networks: tuple[PodNetwork, ...] = ()
    requests: tuple[NetworkRequest, ...] = ()
    networking: str = ""
    has_eni: bool | None = None

    @property
    def is_anything(self) -> bool:
        """Return whether a network is asked for."""
        return bool(self.networks or self.requests or self.networking)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodNetworking:
    """A network, and which pods have it. Without a selector they ask for it by its name.

    `zones` is where its vSwitches are, as far as the cloud was asked; `is_ready` says that all of
    them were found.
    """

    name: str
    network: PodNetwork = field(default_factory=PodNetwork)
    pods: Selector | None = None
    namespaces: Selector | None = None
    is_ready: bool = False
    zones: Mapping[VSwitchId, ZoneId] = field(default_factory=dict)

    @property
    def has_selector(self) -> bool:
        """Return whether it chooses its pods itself."""
        return self.pods is not None or self.namespaces is not None

    def selects(self, pod: Labels, namespace: Labels) -> bool:
        """Return whether each selector that is set matches, and one is set."""
        if not self.has_selector:
            return False
        is_pod = self.pods is None or self.pods.matches(pod)
        return is_pod and (self.namespaces is None or self.namespaces.matches(namespace))
