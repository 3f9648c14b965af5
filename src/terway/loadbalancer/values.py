"""What of a Service, its endpoints and the cluster matters to a load balancer?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from terway.model.address import Family, IPAddress, IPNetwork
from terway.model.balancer import (
    AccessList,
    BalancerInstance,
    BalancerProduct,
    Listener,
    ListenerProtocol,
    ServerGroup,
    SourceGroup,
)
from terway.model.ids import ENIId, VpcId, VSwitchId, ZoneId

NLB_CLASS = "alibabacloud.com/nlb"
CLB_CLASS = "alibabacloud.com/clb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port of a Service. `name` is empty for the only one; endpoints have their ports by it."""

    name: str
    protocol: ListenerProtocol
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A Service of type LoadBalancer. `load_balancer_class` is empty for the default, a CLB."""

    namespace: str
    name: str
    uid: str
    ports: tuple[Port, ...]
    families: tuple[Family, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    load_balancer_class: str = ""
    source_ranges: tuple[IPNetwork, ...] = ()

    @property
    def product(self) -> BalancerProduct:
        """Return whose API its instances are of."""
        is_nlb = self.load_balancer_class == NLB_CLASS
        return BalancerProduct.NLB if is_nlb else BalancerProduct.CLB


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """The pod of an endpoint."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One address behind a Service.

    `serves`: its containers are ready, whatever a readiness gate waits for; `is_ready`: its gates
    are open, too. `ports` are by the name of the Service's port; a port that is not there is not
    served. `eni_id` is None until somebody knows whose address it is.
    """

    address: IPAddress
    ports: Mapping[str, int]
    serves: bool = True
    is_ready: bool = True
    is_terminating: bool = False
    eni_id: ENIId | None = None
    pod: Pod | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What all Services of a cluster have in common. `zones` are for NLBs that name none."""

    cluster_id: str
    vpc_id: VpcId
    vswitch_id: VSwitchId | None = None  # of intranet CLBs that name none
    zones: tuple[tuple[ZoneId, VSwitchId], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What is there of one instance; `instance` is None before it was made."""

    instance: BalancerInstance | None = None
    listeners: tuple[Listener, ...] = ()
    groups: tuple[ServerGroup, ...] = ()
    access_list: AccessList | None = None
    source_group: SourceGroup | None = None
