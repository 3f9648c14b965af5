"""What do the answers of CLB look like, and which model values are they?

Structs with the fields we use, as in `wire`; its lists are wrapped twice.
Source: OpenAPI SLB 2014-05-15.
"""

from __future__ import annotations

from ipaddress import ip_address

import msgspec

from terway.cloud.balancer_calls import said_address
from terway.cloud.wire import TagEntry, Tags
from terway.model.balancer import (
    Backend,
    BackendHealth,
    BalancerInstance,
    BalancerProduct,
    HealthStatus,
    LoadBalancerId,
    ServerGroup,
    ServerGroupId,
)
from terway.model.ids import ENIId, InstanceId, VpcId, VSwitchId, ZoneId

_ON = "on"
_PROTECTED = "ConsoleProtection"


class Clb(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """A CLB instance."""

    load_balancer_id: str
    address: str
    address_type: str
    load_balancer_name: str = ""
    load_balancer_status: str = "active"
    vpc_id: str = ""
    v_switch_id: str = ""
    master_zone_id: str = ""
    load_balancer_spec: str = ""
    instance_charge_type: str = ""
    delete_protection: str = "off"
    modification_protection_status: str = ""
    resource_group_id: str = ""
    tags: Tags = Tags()


class ClbList(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The wrapper of CLB instances."""

    load_balancer: tuple[Clb, ...] = ()


class ClbPage(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The answer of DescribeLoadBalancers."""

    load_balancers: ClbList = ClbList()
    total_count: int = 0


class NewClb(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The answer of CreateLoadBalancer."""

    load_balancer_id: str


def parse_clb(said: Clb) -> BalancerInstance:
    """Return the instance that CLB described."""
    zones = (
        ((ZoneId(said.master_zone_id), VSwitchId(said.v_switch_id)),) if said.v_switch_id else ()
    )
    return BalancerInstance(
        id=LoadBalancerId(said.load_balancer_id),
        product=BalancerProduct.CLB,
        name=said.load_balancer_name,
        addresses=(ip_address(said.address),),
        is_internet=said.address_type == "internet",
        is_ready=said.load_balancer_status == "active",
        vpc_id=VpcId(said.vpc_id) if said.vpc_id else None,
        zones=zones,
        spec=said.load_balancer_spec,
        charge_type=said.instance_charge_type,
        is_protected_from_deletion=said.delete_protection == _ON,
        is_protected_from_console=said.modification_protection_status == _PROTECTED,
        resource_group_id=said.resource_group_id,
        tags=_tags(said.tags.tag),
    )


def _tags(said: tuple[TagEntry, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((tag.tag_key, tag.tag_value) for tag in said)


class ClbServer(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """A backend of a vServer group."""

    server_id: str
    port: int
    type: str = "ecs"
    server_ip: str = ""
    weight: int = 100
    description: str = ""


class ClbServers(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The wrapper of backends."""

    backend_server: tuple[ClbServer, ...] = ()


class VServerGroup(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """A vServer group."""

    v_server_group_id: str
    v_server_group_name: str = ""
    load_balancer_id: str = ""
    backend_servers: ClbServers = ClbServers()
    tags: Tags = Tags()


class VServerGroupList(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The wrapper of vServer groups."""

    v_server_group: tuple[VServerGroup, ...] = ()


class VServerGroups(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The answer of DescribeVServerGroups."""

    v_server_groups: VServerGroupList = VServerGroupList()


def parse_vserver_group(said: VServerGroup) -> ServerGroup:
    """Return the group that CLB described."""
    owner = LoadBalancerId(said.load_balancer_id) if said.load_balancer_id else None
    return ServerGroup(
        id=ServerGroupId(said.v_server_group_id),
        name=said.v_server_group_name,
        backends=tuple(map(_clb_backend, said.backend_servers.backend_server)),
        owner=owner,
        tags=_tags(said.tags.tag),
    )


def _clb_backend(said: ClbServer) -> Backend:
    is_eni = said.type == "eni"
    return Backend(
        address=said_address(said.server_ip) if is_eni else None,
        port=said.port,
        eni_id=ENIId(said.server_id) if is_eni else None,
        instance_id=None if is_eni else InstanceId(said.server_id),
        weight=said.weight,
        description=said.description,
    )


class ClbHealth(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """What CLB says of one backend."""

    server_id: str
    port: int
    server_ip: str = ""
    server_health_status: str = "unavailable"


class ClbHealthList(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The wrapper of health."""

    backend_server: tuple[ClbHealth, ...] = ()


class ClbHealths(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The answer of DescribeHealthStatus."""

    backend_servers: ClbHealthList = ClbHealthList()


_CLB_HEALTH = {"normal": HealthStatus.HEALTHY, "abnormal": HealthStatus.UNHEALTHY}


def parse_clb_health(said: ClbHealth) -> BackendHealth:
    """Return what CLB says of a backend."""
    return BackendHealth(
        server_id=said.server_id,
        address=said_address(said.server_ip),
        port=said.port,
        status=_CLB_HEALTH.get(said.server_health_status, HealthStatus.UNKNOWN),
    )
