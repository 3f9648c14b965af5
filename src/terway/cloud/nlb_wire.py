"""What do the answers of NLB look like, and which model values are they?

Structs with the fields we use, as in `wire`. Source: OpenAPI NLB 2022-04-30.
"""

from __future__ import annotations

from ipaddress import ip_address

import msgspec

from terway.cloud.balancer_calls import said_address
from terway.model.balancer import (
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
from terway.model.ids import ENIId, InstanceId, SecurityGroupId, VpcId, VSwitchId, ZoneId


class KeyValue(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """A tag, as lists of NLB spell it."""

    key: str
    value: str = ""


class Address(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The addresses of an instance in a zone."""

    private_ipv4: str = msgspec.field(default="", name="PrivateIPv4Address")
    public_ipv4: str = msgspec.field(default="", name="PublicIPv4Address")
    ipv6: str = msgspec.field(default="", name="Ipv6Address")


class Zone(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """An instance in a zone."""

    zone_id: str
    v_switch_id: str
    load_balancer_addresses: tuple[Address, ...] = ()


class Deletion(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """Deletion protection."""

    enabled: bool = False


class Modification(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """Protection from the console."""

    status: str = ""


class Nlb(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """An NLB instance."""

    load_balancer_id: str
    load_balancer_name: str = ""
    load_balancer_status: str = ""
    address_type: str = ""
    vpc_id: str = ""
    dns_name: str = msgspec.field(default="", name="DNSName")
    zone_mappings: tuple[Zone, ...] = ()
    deletion_protection_config: Deletion = Deletion()
    modification_protection_config: Modification = Modification()
    resource_group_id: str = ""
    security_group_ids: tuple[str, ...] = ()
    tags: tuple[KeyValue, ...] = ()


class Nlbs(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The answer of ListLoadBalancers."""

    load_balancers: tuple[Nlb, ...] = ()
    next_token: str = ""


class NewNlb(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The answer of CreateLoadBalancer, which spells the id otherwise."""

    loadbalancer_id: str


def parse_nlb(said: Nlb) -> BalancerInstance:
    """Return the instance that NLB described; the internet's addresses first."""
    inside = [one for zone in said.zone_mappings for one in zone.load_balancer_addresses]
    texts = [
        *(one.public_ipv4 for one in inside),
        *(one.private_ipv4 for one in inside),
        *(one.ipv6 for one in inside),
    ]
    return BalancerInstance(
        id=LoadBalancerId(said.load_balancer_id),
        product=BalancerProduct.NLB,
        name=said.load_balancer_name,
        addresses=tuple(ip_address(one) for one in texts if one),
        hostname=said.dns_name,
        is_internet=said.address_type == "Internet",
        is_ready=said.load_balancer_status == "Active",
        vpc_id=VpcId(said.vpc_id),
        zones=tuple(
            (ZoneId(one.zone_id), VSwitchId(one.v_switch_id)) for one in said.zone_mappings
        ),
        is_protected_from_deletion=said.deletion_protection_config.enabled,
        is_protected_from_console=said.modification_protection_config.status == "ConsoleProtection",
        resource_group_id=said.resource_group_id,
        security_group_ids=tuple(map(SecurityGroupId, said.security_group_ids)),
        tags=tuple((one.key, one.value) for one in said.tags),
    )


class Job(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """An answer that names a job, and what was made."""

    job_id: str = ""
    server_group_id: str = ""
    listener_id: str = ""


class JobStatus(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The answer of GetJobStatus."""

    status: str


class Check(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The health check of a server group."""

    health_check_enabled: bool = True
    health_check_type: str = "TCP"
    health_check_connect_port: int = 0
    health_check_connect_timeout: int = 5
    health_check_interval: int = 10
    healthy_threshold: int = 2
    unhealthy_threshold: int = 2
    health_check_domain: str = ""
    health_check_url: str = "/"
    http_check_method: str = "HEAD"
    health_check_http_code: tuple[str, ...] = ()


class Group(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """A server group."""

    server_group_id: str
    server_group_name: str = ""
    server_group_status: str = "Available"
    protocol: str = "TCP"
    scheduler: str = "wrr"
    connection_drain_enabled: bool = False
    connection_drain_timeout: int = 0
    health_check: Check = Check()
    tags: tuple[KeyValue, ...] = ()


class Groups(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The answer of ListServerGroups."""

    server_groups: tuple[Group, ...] = ()
    next_token: str = ""


class Server(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """A server of a group."""

    server_id: str
    server_type: str
    port: int
    server_ip: str = ""
    weight: int = 100
    description: str = ""


class Servers(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The answer of ListServerGroupServers."""

    servers: tuple[Server, ...] = ()
    next_token: str = ""


def parse_group(said: Group, servers: tuple[Server, ...]) -> ServerGroup:
    """Return the group that NLB described, with its servers."""
    return ServerGroup(
        id=ServerGroupId(said.server_group_id),
        name=said.server_group_name,
        backends=tuple(map(_backend, servers)),
        protocol=said.protocol,
        forwarding=Forwarding(
            scheduler=said.scheduler.lower(),
            drain_s=said.connection_drain_timeout if said.connection_drain_enabled else None,
            check=_check(said.health_check),
        ),
        is_ready=said.server_group_status == "Available",
        tags=tuple((one.key, one.value) for one in said.tags),
    )


def _check(said: Check) -> HealthCheck:
    return HealthCheck(
        is_on=said.health_check_enabled,
        kind=CheckKind(said.health_check_type.lower()),
        port=said.health_check_connect_port,
        timeout_s=said.health_check_connect_timeout,
        interval_s=said.health_check_interval,
        healthy_after=said.healthy_threshold,
        unhealthy_after=said.unhealthy_threshold,
        domain=said.health_check_domain,
        uri=said.health_check_url,
        method=said.http_check_method.lower(),
        http_codes=said.health_check_http_code,
    )


def _backend(said: Server) -> Backend:
    kind = said.server_type
    return Backend(
        address=None if kind == "Ecs" else said_address(said.server_ip),
        port=said.port,
        eni_id=ENIId(said.server_id) if kind == "Eni" else None,
        instance_id=InstanceId(said.server_id) if kind == "Ecs" else None,
        weight=said.weight,
        description=said.description,
    )


class NlbListener(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """A listener."""

    listener_id: str
    load_balancer_id: str
    listener_protocol: str
    listener_port: int
    server_group_id: str = ""
    listener_status: str = "Running"
    listener_description: str = ""


class NlbListeners(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The answer of ListListeners."""

    listeners: tuple[NlbListener, ...] = ()
    next_token: str = ""


def parse_listener(said: NlbListener) -> Listener | None:
    """Return the listener that NLB described; None for TCPSSL, which is not ours."""
    if said.listener_protocol not in ("TCP", "UDP"):
        return None
    return Listener(
        id=ListenerId(said.listener_id),
        balancer_id=LoadBalancerId(said.load_balancer_id),
        is_running=said.listener_status == "Running",
        wish=ListenerWish(
            protocol=ListenerProtocol(said.listener_protocol),
            port=said.listener_port,
            group_id=ServerGroupId(said.server_group_id),
            description=said.listener_description,
        ),
    )


class NotNormal(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """A server that is not healthy."""

    server_id: str
    port: int = 0
    server_ip: str = ""
    status: str = ""


class GroupHealth(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The servers of a group that are not healthy. The API's own spelling of "health"."""

    heath_check_enabled: bool = True
    non_normal_servers: tuple[NotNormal, ...] = ()


class ListenerHealth(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The health behind a listener."""

    server_group_infos: tuple[GroupHealth, ...] = ()


class Health(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The answer of GetListenerHealthStatus."""

    listener_health_status: tuple[ListenerHealth, ...] = ()


_STATUS = {"Unhealthy": HealthStatus.UNHEALTHY, "Unavailable": HealthStatus.UNHEALTHY}


def parse_not_healthy(said: NotNormal) -> BackendHealth:
    """Return what NLB says of a server that it does not find healthy."""
    return BackendHealth(
        server_id=said.server_id,
        address=said_address(said.server_ip),
        port=said.port,
        status=_STATUS.get(said.status, HealthStatus.UNKNOWN),
    )
