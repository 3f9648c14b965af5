"""Which instances, listeners and backends does a Service want?

One instance of each family, where the product has no instance of both; one group of backends and
one listener for each port. Backends are pods, by the addresses of their ENIs: no node port, no
node in between.

A pod that ends takes no new connections (weight 0) but keeps those it has; while no other is Ready,
those that end serve on, as kube-proxy has it: better an answer of the last than none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from terway.loadbalancer.annotations import Settings
from terway.loadbalancer.fitting import check_protocols, fit_forwarding, fit_http
from terway.loadbalancer.values import Cluster, Endpoint, Port, Service
from terway.model.address import Family, IPNetwork
from terway.model.balancer import (
    Backend,
    BalancerProduct,
    Forwarding,
    InstanceWish,
    ListenerProtocol,
    Place,
    Tags,
)
from terway.model.errors import UsageError
from terway.model.http_listener import HttpForwarding
from terway.model.ids import SecurityGroupId, VSwitchId, ZoneId

OWNER_TAG = "kubernetes.do.not.delete"
CLUSTER_TAG = "ack.aliyun.com"
FULL_WEIGHT = 100
_SPEC = "slb.s1.small"
_SECOND = "-v6"
_MARK_LENGTH = 73  # names of access lists have 80 characters at most


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedListener:
    """A listener with the group behind it."""

    protocol: ListenerProtocol
    port: int
    description: str
    group_name: str
    backends: tuple[Backend, ...]
    forwarding: Forwarding
    http: HttpForwarding | None = None  # of HTTP and HTTPS

    @property
    def place(self) -> Place:
        """Return where it listens."""
        return self.protocol.transport, self.port


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One instance. With `balancer_id` it is somebody's, and stays when the Service goes."""

    product: BalancerProduct
    families: tuple[Family, ...]
    balancer_id: str
    overrides_listeners: bool
    instance: InstanceWish
    listeners: tuple[WantedListener, ...]
    mark: str  # what names and descriptions of ours end with
    acl_id: str = ""  # a list that is there already
    acl_is_allowed: bool = True
    sources: tuple[IPNetwork, ...] = ()  # a list of our own, or a security group (NLB)
    acl_name: str = ""
    security_group_ids: tuple[SecurityGroupId, ...] = ()  # those that the instance is in (NLB)
    groups_are_of_addresses: bool = False

    @property
    def owner(self) -> str:
        """Return by what all that is the Service's is found at the cloud."""
        return dict(self.instance.tags)[OWNER_TAG]


def wanted_of(
    service: Service, settings: Settings, endpoints: Sequence[Endpoint], cluster: Cluster
) -> tuple[Wanted, ...]:
    """Return the instances that a Service wants. Raises UsageError for what cannot be."""
    check_protocols(service, settings.web)
    if service.product is BalancerProduct.NLB:
        return (_wanted(service, settings, endpoints, cluster, service.families),)
    if settings.balancer_id and len(service.families) > 1:
        raise UsageError(
            "a CLB instance is of one family: set ipFamilyPolicy to SingleStack, or let the "
            "instances be made",
            field="spec.ipFamilyPolicy",
        )
    if Family.V6 in service.families and not (settings.is_internet or settings.balancer_id):
        raise UsageError(
            "a CLB instance of IPv6 is of the internet: set address-type to internet, set "
            "ipFamilies to IPv4, or take an NLB (loadBalancerClass: alibabacloud.com/nlb)",
            field="spec.ipFamilies",
        )
    return tuple(
        _wanted(service, settings, endpoints, cluster, (family,)) for family in service.families
    )


def _wanted(
    service: Service,
    settings: Settings,
    endpoints: Sequence[Endpoint],
    cluster: Cluster,
    families: tuple[Family, ...],
) -> Wanted:
    mark = mark_of(service, cluster)
    own = [one for one in endpoints if one.address.version in {f.value for f in families}]
    sources = tuple(
        one for one in service.source_ranges if one.version in {f.value for f in families}
    )
    return Wanted(
        product=service.product,
        families=families,
        balancer_id=settings.balancer_id,
        overrides_listeners=settings.overrides_listeners,
        instance=_instance(service, settings, cluster, families),
        listeners=tuple(_listener(port, settings, own, mark) for port in service.ports),
        mark=mark,
        acl_id=settings.acl_id if settings.has_acl else "",
        acl_is_allowed=settings.acl_is_allowed,
        # Ranges of the other family alone let nobody in here.
        sources=sources or _nobody(service, families),
        acl_name=f"k8s/{mark}{_suffix(service, families)}",
        security_group_ids=settings.security_group_ids,
        groups_are_of_addresses=settings.groups_are_of_addresses,
    )


def _nobody(service: Service, families: tuple[Family, ...]) -> tuple[IPNetwork, ...]:
    if not service.source_ranges:
        return ()
    raise UsageError(
        f"loadBalancerSourceRanges has no range of IPv{families[0].value}: nobody could reach that "
        "address; add one, or set ipFamilyPolicy to SingleStack",
        field="spec.loadBalancerSourceRanges",
    )


def _instance(
    service: Service, settings: Settings, cluster: Cluster, families: tuple[Family, ...]
) -> InstanceWish:
    default = default_name(service.uid)
    suffix = _suffix(service, families)
    return InstanceWish(
        name=(settings.name or default) + suffix,
        is_internet=settings.is_internet,
        vpc_id=cluster.vpc_id,
        zones=_zones(service, settings, cluster),
        ip_version=_ip_version(service.product, families),
        address=settings.address,
        spec=settings.spec or (_SPEC if settings.charge_type == "PayBySpec" else ""),
        charge_type=settings.charge_type or "PayByCLCU",
        internet_charge_type=settings.internet_charge_type or "paybytraffic",
        bandwidth=settings.bandwidth,
        is_protected_from_deletion=settings.is_protected_from_deletion,
        is_protected_from_console=settings.is_protected_from_console,
        resource_group_id=settings.resource_group_id,
        tags=(*_owner_tags(default + suffix, cluster), *settings.tags),
    )


def _suffix(service: Service, families: tuple[Family, ...]) -> str:
    """Return what tells the instance of a Service's second family from that of its first."""
    return "" if families[0] is service.families[0] else _SECOND


def _owner_tags(name: str, cluster: Cluster) -> Tags:
    return (OWNER_TAG, name), (CLUSTER_TAG, cluster.cluster_id)


def mark_of(service: Service, cluster: Cluster) -> str:
    """Return what the names of all that is a Service's end with, in short enough for the cloud."""
    whole = f"{service.name}/{service.namespace}/{cluster.cluster_id}"
    if len(whole) <= _MARK_LENGTH:
        return whole
    return f"{service.name[:20]}/{service.namespace[:20]}/{sha256(whole.encode()).hexdigest()[:24]}"


def holdings_of(service: Service, balancer_id: str, cluster: Cluster) -> tuple[Wanted, ...]:
    """Return all instances that a Service may have had, whatever it says of itself by now.

    To be removed, so nothing of them is wanted. `balancer_id` is the one that is somebody's.
    """
    default = default_name(service.uid)
    own = (
        _holding(service, cluster, BalancerProduct.CLB, default),
        _holding(service, cluster, BalancerProduct.CLB, default + _SECOND, _SECOND),
        _holding(service, cluster, BalancerProduct.NLB, default),
    )
    if not balancer_id:
        return own
    is_nlb = balancer_id.startswith("nlb-")
    product = BalancerProduct.NLB if is_nlb else BalancerProduct.CLB
    named = _holding(service, cluster, product, default)
    return (replace(named, balancer_id=balancer_id), *own)


def _holding(
    service: Service, cluster: Cluster, product: BalancerProduct, name: str, suffix: str = ""
) -> Wanted:
    mark = mark_of(service, cluster)
    return Wanted(
        product=product,
        families=(),
        balancer_id="",
        overrides_listeners=False,
        instance=InstanceWish(name=name, is_internet=True, tags=_owner_tags(name, cluster)),
        listeners=(),
        mark=mark,
        acl_name=f"k8s/{mark}{suffix}",
    )


def default_name(uid: str) -> str:
    """Return the name of a Service's instance, as the cloud's own controller makes it."""
    return f"a{uid}".replace("-", "")[:32]


def _zones(
    service: Service, settings: Settings, cluster: Cluster
) -> tuple[tuple[ZoneId, VSwitchId], ...]:
    if service.product is BalancerProduct.NLB:
        zones = settings.zones or cluster.zones
        if not zones and not settings.balancer_id:
            raise UsageError(
                "an NLB needs a vSwitch in each zone it is to be in: annotate the Service with "
                "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-zone-maps: zone:vsw-…,…",
                field="zone-maps",
            )
        return zones
    vswitch_id = settings.vswitch_id or cluster.vswitch_id
    return () if settings.is_internet or vswitch_id is None else ((ZoneId(""), vswitch_id),)


def _ip_version(product: BalancerProduct, families: tuple[Family, ...]) -> str:
    if product is BalancerProduct.NLB:
        return "DualStack" if Family.V6 in families else "ipv4"
    return "ipv6" if families[0] is Family.V6 else "ipv4"


def _listener(
    port: Port, settings: Settings, endpoints: Sequence[Endpoint], mark: str
) -> WantedListener:
    protocol = settings.web.protocol_at((port.protocol, port.port))
    label = f"{protocol.value}-{port.port}"
    return WantedListener(
        protocol=protocol,
        port=port.port,
        description=f"k8s/{label}/{mark}",
        group_name=f"k8s/{label}/{mark}",
        backends=backends_of(port, endpoints, of_addresses=settings.groups_are_of_addresses),
        forwarding=fit_forwarding(settings.forwarding, protocol, settings.web, port.port),
        http=fit_http(protocol, settings.web, port.port),
    )


def backends_of(
    port: Port, endpoints: Iterable[Endpoint], *, of_addresses: bool
) -> tuple[Backend, ...]:
    """Return who is to be behind a port, by address alone or with the ENI that has it."""
    return tuple(sorted(_backends(port, endpoints, of_addresses=of_addresses), key=_order))


def _backends(
    port: Port, endpoints: Iterable[Endpoint], *, of_addresses: bool
) -> Iterator[Backend]:
    serving = [one for one in endpoints if one.serves and port.name in one.ports]
    stays = any(one.is_ready and not one.is_terminating for one in serving)
    for one in serving:
        if one.eni_id is None and not of_addresses:
            continue  # nobody knows its ENI yet: the next look finds it
        yield Backend(
            address=one.address,
            port=one.ports[port.name],
            eni_id=None if of_addresses else one.eni_id,
            weight=0 if one.is_terminating and stays else FULL_WEIGHT,
        )


def _order(backend: Backend) -> tuple[str, int]:
    return str(backend.address), backend.port
