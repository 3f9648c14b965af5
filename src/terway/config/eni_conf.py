"""What does `eni_conf` say? Every key of the original, parsed into one value.

Source: AliyunContainerService/terway, types/daemon/config.go and docs/dynamic-config.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_network

from terway.config.fields import Caution, Fields, refuse
from terway.config.keys import KNOWN_KEYS
from terway.config.later import warn_ineffective
from terway.model.address import IPStack
from terway.model.ids import RegionId, SecurityGroupId, VSwitchId, ZoneId

PATH = "eni_conf"
MAX_SECURITY_GROUPS = 10
# ENIs of other controllers on the same nodes, and the tag by which people exclude one.
BUILT_IN_BLOCKLIST = (
    ("creator", "alibabacloud-erdma-controller"),
    ("terway.alibabacloud.com/excluded", "true"),
)

Tags = tuple[tuple[str, str], ...]


class VSwitchSelection(Enum):
    """`vswitch_selection_policy`. Each does what it says, unlike in the original."""

    RANDOM = "random"
    ORDERED = "ordered"
    MOST = "most"


class ENISelection(Enum):
    """`eni_selection_policy`: pack pods on few ENIs, or spread them."""

    MOST_IPS = "most_ips"
    LEAST_IPS = "least_ips"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reclaim:
    """`idle_ip_reclaim_*`: how a pool that nobody touches shrinks to `min_pool_size`."""

    after_s: float
    interval_s: float
    batch: int


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
class EniConf:
    """`eni_conf`, as far as the node's agent follows it. Sizes of the pool count pods."""

    access_key: str
    access_secret: str = field(repr=False)  # nothing that prints the value shows it
    region_id: RegionId  # empty: the instance's own
    service_cidr: ServiceCIDR
    vswitches: Mapping[ZoneId, tuple[VSwitchId, ...]]
    security_group_ids: tuple[SecurityGroupId, ...]  # empty: those of the primary ENI
    eni_tags: Tags
    eni_tag_filter: Tags
    eni_tag_blocklist: Tags
    min_pool_size: int
    max_pool_size: int
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
    resource_group_id: str
    patches_pod_ips: bool


def read_eni_conf(raw: Mapping[str, object]) -> tuple[EniConf, tuple[Caution, ...]]:
    """Return what `raw` asks for, and what in it is without effect. Raises UsageError."""
    fields = Fields(raw, PATH)
    fields.refuse_unknown(KNOWN_KEYS)
    minimum, maximum = fields.count("min_pool_size"), fields.count("max_pool_size")
    if fields.has("max_pool_size") and minimum > maximum:
        refuse(fields.path("min_pool_size"), minimum, f"must be at most max_pool_size, {maximum}")
    conf = EniConf(
        access_key=fields.text("access_key"),
        access_secret=fields.text("access_secret"),
        region_id=RegionId(fields.text("region_id")),
        service_cidr=_service_cidr(fields),
        vswitches=_vswitches(fields),
        security_group_ids=_security_groups(fields),
        eni_tags=fields.pairs("eni_tags"),
        eni_tag_filter=fields.pairs("eni_tag_filter"),
        eni_tag_blocklist=(*BUILT_IN_BLOCKLIST, *_blocklist(fields)),
        min_pool_size=minimum,
        max_pool_size=max(minimum, maximum),
        min_eni=fields.count("min_eni"),
        max_eni=fields.count("max_eni"),
        eni_cap_ratio=fields.ratio("eni_cap_ratio", 1.0),
        eni_cap_shift=fields.integer("eni_cap_shift"),
        vswitch_selection=fields.choice("vswitch_selection_policy", VSwitchSelection.RANDOM),
        eni_selection=fields.choice("eni_selection_policy", ENISelection.MOST_IPS),
        ip_stack=fields.choice("ip_stack", IPStack.IPV4),
        pool_sync_s=fields.duration_s("ip_pool_sync_period", 120.0) or 120.0,
        cooldown_s=fields.duration_s("ip_cooldown_period", 30.0) or 30.0,
        reclaim=_reclaim(fields),
        resource_group_id=fields.text("resource_group_id"),
        patches_pod_ips=fields.flag("enable_patch_pod_ips", default=True),
    )
    _check_keys(conf, fields)
    return conf, warn_ineffective(fields)


def _check_keys(conf: EniConf, fields: Fields) -> None:
    if bool(conf.access_key) != bool(conf.access_secret):
        given, other = ("access_key", "access_secret")[:: 1 if conf.access_key else -1]
        refuse(fields.path(other), "", f"must be set because {given} is; or remove both")


def _vswitches(fields: Fields) -> dict[ZoneId, tuple[VSwitchId, ...]]:
    found = fields.lists("vswitches")
    for zone, ids in found.items():
        for index, one in enumerate(ids):
            if not one.startswith("vsw-"):
                path = f"{fields.path('vswitches')}.{zone}[{index}]"
                refuse(path, one, 'must be the id of a vSwitch: "vsw-…"')
    return {ZoneId(zone): tuple(map(VSwitchId, ids)) for zone, ids in found.items()}


def _security_groups(fields: Fields) -> tuple[SecurityGroupId, ...]:
    single = fields.text("security_group")
    ids = dict.fromkeys((*((single,) if single else ()), *fields.texts("security_groups")))
    path = fields.path("security_groups")
    for one in ids:
        if not one.startswith("sg-"):
            refuse(path, one, 'must be ids of security groups: "sg-…"')
    if len(ids) > MAX_SECURITY_GROUPS:
        rule = f"an ENI has at most {MAX_SECURITY_GROUPS}, here are {len(ids)}: remove some"
        refuse(path, list(ids), rule)
    return tuple(map(SecurityGroupId, ids))


def _blocklist(fields: Fields) -> Tags:
    return tuple((one.text("key"), one.text("value")) for one in _tags(fields))


def _tags(fields: Fields) -> tuple[Fields, ...]:
    found = fields.objects("eni_tag_block_list")
    for one in found:
        one.refuse_unknown(("key", "value"))
        if not one.text("key"):
            refuse(one.path("key"), "", "must name the key of a tag")
    return found


def _service_cidr(fields: Fields) -> ServiceCIDR:
    text = fields.text("service_cidr")
    path = fields.path("service_cidr")
    v4: IPv4Network | None = None
    v6: IPv6Network | None = None
    for part in filter(None, map(str.strip, text.split(","))):
        try:
            network = ip_network(part)
        except ValueError as error:
            refuse(path, text, f"must be a range, or one of each family with a comma: {error}")
        if isinstance(network, IPv4Network):
            v4 = network
        else:
            v6 = network
    return ServiceCIDR(v4=v4, v6=v6)


def _reclaim(fields: Fields) -> Reclaim | None:
    after_s = fields.duration_s("idle_ip_reclaim_after", None)
    interval_s = fields.duration_s("idle_ip_reclaim_interval", 600.0) or 600.0
    batch = fields.count("idle_ip_reclaim_batch_size", 5)
    if after_s is None:
        return None
    return Reclaim(after_s=after_s, interval_s=interval_s, batch=max(1, batch))
