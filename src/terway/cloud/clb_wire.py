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
    AccessListId,
    AccessRule,
    Backend,
    BackendHealth,
    BalancerInstance,
    BalancerProduct,
    CheckKind,
    Forwarding,
    HealthCheck,
    HealthStatus,
    Listener,
    ListenerId,
    ListenerProtocol,
    ListenerWish,
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


class ClbListenerConfig(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """What is a TCP or UDP listener's own."""

    health_check: str = _ON
    health_check_type: str = "tcp"
    health_check_connect_port: int = 0
    health_check_connect_timeout: int = 5
    health_check_interval: int = 2
    healthy_threshold: int = 3
    unhealthy_threshold: int = 3
    health_check_domain: str = ""
    health_check_uri: str = msgspec.field(default="/", name="HealthCheckURI")
    health_check_method: str = "head"
    health_check_http_code: str = "http_2xx"
    persistence_timeout: int = 0
    connection_drain: str = "off"
    connection_drain_timeout: int = 0


class ClbListener(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """A listener in the answer of DescribeLoadBalancerListeners."""

    load_balancer_id: str
    listener_port: int
    listener_protocol: str
    status: str = "running"
    scheduler: str = "wrr"
    v_server_group_id: str = ""
    description: str = ""
    acl_status: str = "off"
    acl_type: str = ""
    acl_id: str = ""
    tcp: ClbListenerConfig | None = msgspec.field(default=None, name="TCPListenerConfig")
    udp: ClbListenerConfig | None = msgspec.field(default=None, name="UDPListenerConfig")


class ClbListeners(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The answer of DescribeLoadBalancerListeners."""

    listeners: tuple[ClbListener, ...] = ()
    next_token: str = ""


def parse_clb_listener(said: ClbListener) -> Listener | None:
    """Return the listener that CLB described; None for HTTP and HTTPS, which are not ours."""
    config = said.tcp or said.udp
    if config is None:
        return None
    access = AccessRule(acl_id=AccessListId(said.acl_id), is_allowed=said.acl_type == "white")
    wish = ListenerWish(
        protocol=ListenerProtocol(said.listener_protocol.upper()),
        port=said.listener_port,
        group_id=ServerGroupId(said.v_server_group_id),
        description=said.description,
        forwarding=_clb_forwarding(said, config),
        access=access if said.acl_status == _ON else None,
    )
    return Listener(
        id=ListenerId(f"{said.load_balancer_id}/{wish.protocol.value}/{wish.port}"),
        balancer_id=LoadBalancerId(said.load_balancer_id),
        is_running=said.status == "running",
        wish=wish,
    )


def _clb_forwarding(said: ClbListener, config: ClbListenerConfig) -> Forwarding:
    kind = CheckKind.UDP if said.udp is not None else CheckKind(config.health_check_type)
    return Forwarding(
        scheduler=said.scheduler,
        drain_s=config.connection_drain_timeout if config.connection_drain == _ON else None,
        persistence_s=config.persistence_timeout,
        check=HealthCheck(
            is_on=config.health_check == _ON,
            kind=kind,
            port=config.health_check_connect_port,
            timeout_s=config.health_check_connect_timeout,
            interval_s=config.health_check_interval,
            healthy_after=config.healthy_threshold,
            unhealthy_after=config.unhealthy_threshold,
            domain=config.health_check_domain,
            uri=config.health_check_uri,
            method=config.health_check_method,
            http_codes=tuple(config.health_check_http_code.split(",")),
        ),
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
