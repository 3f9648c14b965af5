"""What does `eni_conf` say? Every key of the original, parsed into one value.

Source: AliyunContainerService/terway, types/daemon/config.go and docs/dynamic-config.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network

from terway.config import keys_cloud as cloud
from terway.config import keys_pods as pods
from terway.config import keys_pool as pool
from terway.config.choices import (
    ENISelection,
    FlowLogging,
    IPAMType,
    ProxyReplacement,
    VSwitchSelection,
)
from terway.config.combinations import check_combinations
from terway.config.declare import Key, Values, read_object
from terway.config.findings import Caution, Report
from terway.config.keys_map import ENI_CONF
from terway.model.address import IPNetwork, IPStack
from terway.model.ids import RegionId, SecurityGroupId, VSwitchId, ZoneId

PATH = ENI_CONF
KEYS: tuple[Key[object], ...] = (*cloud.KEYS, *pool.KEYS, *pods.KEYS)
# ENIs of other controllers on the same nodes, and the tag by which people exclude one.
BUILT_IN_BLOCKLIST = (
    ("creator", "alibabacloud-erdma-controller"),
    ("terway.alibabacloud.com/excluded", "true"),
)

Tags = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reclaim:
    """`idle_ip_reclaim_*`: how a pool that nobody touches shrinks to `min_pool_size`."""

    after_s: float
    interval_s: float
    batch: int
    jitter: float = 0.1  # share of the interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceCIDR:
    """`service_cidr`, by family."""

    v4: IPv4Network | None = None
    v6: IPv6Network | None = None

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Return the ranges that are there, IPv4 first."""
        return tuple(one for one in (self.v4, self.v6) if one is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """One of `backoff_override`: the waits between tries. None is as it is without."""

    initial_delay_s: float | None = None
    duration_s: float | None = None
    factor: float | None = None
    jitter: float | None = None
    steps: int | None = None
    cap_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EniConf:
    """`eni_conf`, every key of it. Sizes of the pool count pods."""

    access_key: str
    access_secret: str = field(repr=False)  # nothing that prints the value shows it
    credential_path: str
    region_id: RegionId  # empty: the instance's own
    service_cidr: ServiceCIDR
    vswitches: Mapping[ZoneId, tuple[VSwitchId, ...]]
    security_group_ids: tuple[SecurityGroupId, ...]  # empty: those of the primary ENI
    eni_tags: Tags
    eni_tag_filter: Tags
    eni_tag_blocklist: Tags
    min_pool_size: int
    max_pool_size: int
    warm_up_size: int  # 0: no warm-up
    min_eni: int
    max_eni: int  # 0: what the instance type allows
    eni_cap_ratio: float
    eni_cap_shift: int
    vswitch_selection: VSwitchSelection
    eni_selection: ENISelection
    ip_stack: IPStack
    pool_sync_s: float
    cooldown_s: float
    reclaim: Reclaim | None
    uses_prefixes: bool
    ipv4_prefix_count: int
    ipv6_prefix_count: int
    uses_erdma: bool
    uses_trunk: bool
    resource_group_id: str
    patches_pod_ips: bool
    registers_devices: bool
    extra_routes: tuple[IPNetwork, ...]
    custom_stateful_kinds: tuple[str, ...]
    ipam_type: IPAMType
    rate_limits_per_min: Mapping[str, int]  # by the cloud's action
    waits: Mapping[str, Waits]  # by the name of what is tried
    kube_client_qps: float  # 0: no limit
    kube_client_burst: int
    flow_log: FlowLogging
    flow_log_sample: int
    ebpf_max_connections: int  # 0: by the number of pods
    ebpf_policy_entries: int
    ebpf_service_entries: int
    kube_proxy_replacement: ProxyReplacement

    @property
    def is_centralized(self) -> bool:
        """Return whether the control plane sees to it that the node has addresses."""
        return self.ipam_type in (IPAMType.CRD, IPAMType.PREFER_CRD)


def read_eni_conf(raw: Mapping[str, object]) -> tuple[EniConf, tuple[Caution, ...]]:
    """Return what `raw` asks for, and what in it is without effect.

    Raises ConfigError with all that cannot be right.
    """
    report = Report()
    conf = read_eni_conf_into(report, raw)
    report.raise_refusals()
    return conf, tuple(report.cautions)


def read_eni_conf_into(report: Report, raw: Mapping[str, object]) -> EniConf:
    """Return what `raw` asks for, with defaults where `report` has a refusal."""
    said = read_object(KEYS, raw, PATH, report)
    check_combinations(said, report)
    minimum, maximum = said[pool.MIN_POOL_SIZE], said[pool.MAX_POOL_SIZE]
    return EniConf(
        access_key=said[cloud.ACCESS_KEY],
        access_secret=said[cloud.ACCESS_SECRET],
        credential_path=said[cloud.CREDENTIAL_PATH],
        region_id=RegionId(said[cloud.REGION_ID]),
        service_cidr=_service_cidr(said, report),
        vswitches=_vswitches(said),
        security_group_ids=tuple(map(SecurityGroupId, security_groups(said))),
        eni_tags=tuple(said[cloud.ENI_TAGS].items()),
        eni_tag_filter=tuple(said[cloud.ENI_TAG_FILTER].items()),
        eni_tag_blocklist=(*BUILT_IN_BLOCKLIST, *_blocklist(said)),
        min_pool_size=minimum,
        max_pool_size=max(minimum, maximum),
        warm_up_size=said[pool.IP_WARM_UP_SIZE],
        min_eni=said[pool.MIN_ENI],
        max_eni=said[pool.MAX_ENI],
        eni_cap_ratio=said[pool.ENI_CAP_RATIO],
        eni_cap_shift=said[pool.ENI_CAP_SHIFT],
        vswitch_selection=said[cloud.VSWITCH_SELECTION],
        eni_selection=said[pool.ENI_SELECTION],
        ip_stack=said[pods.IP_STACK],
        pool_sync_s=said[pool.IP_POOL_SYNC_PERIOD],
        cooldown_s=said[pool.IP_COOLDOWN_PERIOD],
        reclaim=_reclaim(said),
        uses_prefixes=said[pool.ENABLE_IP_PREFIX],
        ipv4_prefix_count=said[pool.IPV4_PREFIX_COUNT],
        ipv6_prefix_count=said[pool.IPV6_PREFIX_COUNT],
        uses_erdma=said[pods.ENABLE_ERDMA],
        uses_trunk=said[pods.ENABLE_ENI_TRUNKING],
        resource_group_id=said[cloud.RESOURCE_GROUP_ID],
        patches_pod_ips=said[pods.ENABLE_PATCH_POD_IPS],
        registers_devices=not said[pods.DISABLE_DEVICE_PLUGIN],
        extra_routes=_extra_routes(said),
        custom_stateful_kinds=said[pods.CUSTOM_STATEFUL_KINDS],
        ipam_type=said[cloud.IPAM_TYPE],
        rate_limits_per_min=said[cloud.RATE_LIMIT],
        waits={name: _waits(one) for name, one in said[cloud.BACKOFF_OVERRIDE].items()},
        kube_client_qps=said[cloud.KUBE_CLIENT_QPS],
        kube_client_burst=said[cloud.KUBE_CLIENT_BURST],
        flow_log=said[pods.FLOW_LOG],
        flow_log_sample=said[pods.FLOW_LOG_SAMPLE],
        ebpf_max_connections=said[pods.EBPF_MAX_CONNECTIONS],
        ebpf_policy_entries=said[pods.EBPF_POLICY_ENTRIES],
        ebpf_service_entries=said[pods.EBPF_SERVICE_ENTRIES],
        kube_proxy_replacement=said[pods.KUBE_PROXY_REPLACEMENT],
    )


def security_groups(said: Values) -> tuple[str, ...]:
    """Return both keys' groups, each once."""
    single = said[cloud.SECURITY_GROUP]
    return tuple(dict.fromkeys((*filter(None, (single,)), *said[cloud.SECURITY_GROUPS])))


def _vswitches(said: Values) -> dict[ZoneId, tuple[VSwitchId, ...]]:
    found = said[cloud.VSWITCHES].items()
    return {ZoneId(zone): tuple(map(VSwitchId, ids)) for zone, ids in found}


def _blocklist(said: Values) -> Tags:
    found = said[cloud.ENI_TAG_BLOCK_LIST]
    return tuple((one[cloud.TAG_KEY], one[cloud.TAG_VALUE]) for one in found)


def _extra_routes(said: Values) -> tuple[IPNetwork, ...]:
    found = (one[pods.ROUTE_DST] for one in said[pods.EXTRA_ROUTES])
    return tuple(one for one in found if one is not None)


def _service_cidr(said: Values, report: Report) -> ServiceCIDR:
    text = said[pods.SERVICE_CIDR]
    found: dict[int, IPv4Network | IPv6Network] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        try:
            network = ip_network(part)
        except ValueError as error:
            rule = f"must be a range, or one of each family with a comma: {error}"
            report.refuse(said.path(pods.SERVICE_CIDR), text, rule)
            continue
        if network.version in found:
            rule = f"has two ranges of IPv{network.version}: a cluster has one of each family"
            report.refuse(said.path(pods.SERVICE_CIDR), text, rule)
        found[network.version] = network
    v4, v6 = found.get(4), found.get(6)
    return ServiceCIDR(
        v4=v4 if isinstance(v4, IPv4Network) else None,
        v6=v6 if isinstance(v6, IPv6Network) else None,
    )


def _reclaim(said: Values) -> Reclaim | None:
    after_s = said[pool.RECLAIM_AFTER]
    if after_s is None:
        return None
    return Reclaim(
        after_s=after_s,
        interval_s=said[pool.RECLAIM_INTERVAL],
        batch=max(1, said[pool.RECLAIM_BATCH]),
        jitter=said[pool.RECLAIM_JITTER],
    )


def _waits(said: Values) -> Waits:
    return Waits(
        initial_delay_s=said[cloud.BACKOFF_INITIAL],
        duration_s=said[cloud.BACKOFF_DURATION],
        factor=said[cloud.BACKOFF_FACTOR],
        jitter=said[cloud.BACKOFF_JITTER],
        steps=said[cloud.BACKOFF_STEPS],
        cap_s=said[cloud.BACKOFF_CAP],
    )
