"""What does a plan's file say? YAML, read as strictly as eni-config, and written back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from ipaddress import IPv4Network
from pathlib import Path

import yaml

from terway.capacity.network_plan import (
    Demand,
    NetworkPlan,
    Options,
    PlannedVSwitch,
    Role,
)
from terway.config.choices import VirtualType
from terway.config.declare import Key, Record, Values, read_object
from terway.config.findings import Report
from terway.config.kinds import Flag, ListOf, MapOf, Network, Number, OneOf, Text, Whole
from terway.model.address import IPNetwork, IPStack
from terway.model.errors import UsageError
from terway.model.ids import ZoneId

_NAME = Text(pattern=r"[a-zA-Z][a-zA-Z0-9._-]{0,127}", words="a name: a letter, then letters, …")
_SOME = Text(pattern=".+", words="a text that is not empty")

NAME: Key[str] = Key(name="name", kind=_NAME, default="terway", meaning="Name of all that is made")
REGION: Key[str] = Key(name="region", kind=Text(), default="", meaning="Region")
CIDR: Key[IPNetwork | None] = Key(name="cidr", kind=Network(), default=None, meaning="Range")
VPC: Key[Values | None] = Key(
    name="vpc", kind=Record(keys=(CIDR,)), default=None, meaning="The VPC"
)
VSWITCH_NAME: Key[str] = Key(name="name", kind=_NAME, default="", meaning="Name")
ZONE: Key[str] = Key(name="zone", kind=_SOME, default="", meaning="Zone")
FOR: Key[Role] = Key(name="for", kind=OneOf(Role), default=Role.BOTH, meaning="Whose")
USED: Key[int] = Key(name="used", kind=Whole(), default=0, meaning="Addresses taken already")
VSWITCHES: Key[tuple[Values, ...]] = Key(
    name="vswitches",
    kind=ListOf(of=Record(keys=(VSWITCH_NAME, ZONE, CIDR, FOR, USED))),
    default=(),
    meaning="The vSwitches",
)
SERVICES: Key[tuple[IPNetwork, ...]] = Key(
    name="service_cidr", kind=ListOf(of=Network()), default=(), meaning="Ranges of services"
)
ZONES: Key[tuple[str, ...]] = Key(
    name="zones", kind=ListOf(of=_SOME), default=(), meaning="Zones, for a proposal"
)
COUNT: Key[int] = Key(name="count", kind=Whole(minimum=1), default=1, meaning="Nodes now")
MOST: Key[int] = Key(name="most", kind=Whole(), default=0, meaning="Nodes at most")
TYPE: Key[str] = Key(name="type", kind=Text(), default="", meaning="Instance type")
PODS: Key[int] = Key(name="pods_per_node", kind=Whole(), default=0, meaning="Pods of a node")
GROWTH: Key[float] = Key(
    name="per_month", kind=Number(allows_zero=True), default=0.0, meaning="More nodes each month"
)
FREE: Key[int] = Key(name="free", kind=Whole(), default=5, meaning="Warm addresses of a node")
NODES: Key[Values | None] = Key(
    name="nodes",
    kind=Record(keys=(COUNT, MOST, TYPE, PODS, GROWTH, FREE)),
    default=None,
    meaning="The nodes",
)
STACK: Key[IPStack] = Key(
    name="ip_stack", kind=OneOf(IPStack), default=IPStack.IPV4, meaning="Families"
)
EXCLUSIVE: Key[bool] = Key(name="exclusive", kind=Flag(), default=False, meaning="An ENI per pod")
VIRTUAL_TYPE: Key[VirtualType] = Key(
    name="virtual_type", kind=OneOf(VirtualType), default=VirtualType.VETH, meaning="Data path"
)
POLICY: Key[bool] = Key(
    name="network_policy", kind=Flag(), default=False, meaning="NetworkPolicy enforced"
)
TRUNK: Key[bool] = Key(name="trunk", kind=Flag(), default=False, meaning="Trunk ENIs")
PREFIX: Key[bool] = Key(name="prefix", kind=Flag(), default=False, meaning="Prefixes")
KERNEL: Key[str] = Key(
    name="kernel",
    kind=Text(pattern=r"\d+\.\d+.*", words='a version: "5.10"'),
    default="",
    meaning="Kernel of the nodes",
)
OPTIONS: Key[Values | None] = Key(
    name="options",
    kind=Record(keys=(STACK, EXCLUSIVE, VIRTUAL_TYPE, POLICY, TRUNK, PREFIX, KERNEL)),
    default=None,
    meaning="The cluster's options",
)
TAKEN: Key[Mapping[str, IPNetwork]] = Key(
    name="taken", kind=MapOf(of=Network()), default={}, meaning="Ranges of other networks"
)
KEYS: tuple[Key[object], ...] = (
    NAME,
    REGION,
    VPC,
    VSWITCHES,
    SERVICES,
    ZONES,
    NODES,
    OPTIONS,
    TAKEN,
)
_NOTHING = Values({}, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFile:
    """A plan, and what belongs to it. `has_ranges`: there is something to check."""

    name: str
    region: str
    instance_type: str
    zones: tuple[ZoneId, ...]
    has_ranges: bool
    plan: NetworkPlan


def read_plan_file(path: Path) -> PlanFile:
    """Return what `path` says. Raises ConfigError with all that is wrong."""
    try:
        raw = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML: {error}", field="FILE") from error
    if not isinstance(raw, dict):
        raise UsageError(f"{path} is no plan: write name, vpc, vswitches, nodes, …", field="FILE")
    return parse_plan(raw)


def parse_plan(raw: Mapping[str, object]) -> PlanFile:
    """Return the plan in `raw`. Raises ConfigError with all that is wrong."""
    report = Report()
    said = read_object(KEYS, raw, "plan", report)
    vpc = (said[VPC] or _NOTHING)[CIDR]
    ranges = [*said[TAKEN].values(), *(one[CIDR] for one in said[VSWITCHES]), vpc]
    for one in ranges:
        if one is not None and not isinstance(one, IPv4Network):
            report.refuse("plan", str(one), "VPCs and vSwitches are planned in IPv4")
    for index, switch in enumerate(said[VSWITCHES]):
        for key in (VSWITCH_NAME, ZONE, CIDR):
            if not switch.has(key) and not report.has_refused([switch.path(key)]):
                report.refuse(f"plan.vswitches[{index}].{key.name}", None, "must be there")
    if said[VSWITCHES] and vpc is None:
        report.refuse("plan.vpc.cidr", None, "must be there: vSwitches lie in it")
    report.raise_refusals()
    nodes = said[NODES] or _NOTHING
    return PlanFile(
        name=said[NAME],
        region=said[REGION],
        instance_type=nodes[TYPE],
        zones=tuple(map(ZoneId, said[ZONES])),
        has_ranges=bool(said[VSWITCHES]),
        plan=NetworkPlan(
            vpc_cidr=vpc if isinstance(vpc, IPv4Network) else IPv4Network("192.168.0.0/16"),
            vswitches=tuple(_vswitch(one) for one in said[VSWITCHES]),
            service_cidrs=said[SERVICES],
            demand=_demand(nodes),
            options=_options(said[OPTIONS] or _NOTHING),
            taken=tuple(
                (name, one) for name, one in said[TAKEN].items() if isinstance(one, IPv4Network)
            ),
        ),
    )


def _vswitch(one: Values) -> PlannedVSwitch:
    cidr = one[CIDR]
    assert isinstance(cidr, IPv4Network)  # checked before
    return PlannedVSwitch(
        name=one[VSWITCH_NAME],
        zone_id=ZoneId(one[ZONE]),
        cidr=cidr,
        role=one[FOR],
        used=one[USED],
    )


def _demand(nodes: Values) -> Demand:
    return Demand(
        nodes=nodes[COUNT],
        most_nodes=nodes[MOST],
        pods_per_node=nodes[PODS],
        nodes_per_month=nodes[GROWTH],
        free_per_node=nodes[FREE],
    )


def _options(said: Values) -> Options:
    major, _, rest = said[KERNEL].partition(".")
    minor = "".join(rest.split(".")[0].split("-")[0])
    return Options(
        stack=said[STACK],
        is_exclusive=said[EXCLUSIVE],
        virtual_type=said[VIRTUAL_TYPE].value,
        has_network_policy=said[POLICY],
        has_trunk=said[TRUNK],
        has_prefixes=said[PREFIX],
        kernel=(int(major), int(minor)) if major else None,
    )


def with_ranges(file: PlanFile, plan: NetworkPlan) -> PlanFile:
    """Return `file` with a proposed plan in it."""
    return replace(file, plan=plan, zones=plan.zones, has_ranges=True)


def to_yaml(file: PlanFile) -> str:
    """Return the file as `read_plan_file` takes it."""
    plan, demand, options = file.plan, file.plan.demand, file.plan.options
    said = {
        NAME.name: file.name,
        REGION.name: file.region,
        VPC.name: {CIDR.name: str(plan.vpc_cidr)},
        VSWITCHES.name: [
            {
                VSWITCH_NAME.name: one.name,
                ZONE.name: one.zone_id,
                CIDR.name: str(one.cidr),
                FOR.name: one.role.value,
            }
            for one in plan.vswitches
        ],
        SERVICES.name: [str(one) for one in plan.service_cidrs],
        NODES.name: _said_nodes(demand, file.instance_type),
        OPTIONS.name: _said_options(options),
        TAKEN.name: {name: str(one) for name, one in plan.taken},
    }
    found = {key: value for key, value in said.items() if value not in ("", {}, [])}
    text: str = yaml.safe_dump(found, sort_keys=False)
    return text


def _said_nodes(demand: Demand, instance_type: str) -> dict[str, object]:
    said = {
        COUNT.name: demand.nodes,
        MOST.name: demand.most_nodes,
        TYPE.name: instance_type,
        PODS.name: demand.pods_per_node,
        GROWTH.name: demand.nodes_per_month,
    }
    return {
        **{name: value for name, value in said.items() if value},
        FREE.name: demand.free_per_node,
    }


def _said_options(options: Options) -> dict[str, object]:
    """Return the options that are not as they would be anyway."""
    kernel = ".".join(map(str, options.kernel)) if options.kernel else ""
    both: tuple[tuple[Key[object], object], ...] = (
        (STACK, options.stack),
        (EXCLUSIVE, options.is_exclusive),
        (VIRTUAL_TYPE, VirtualType(options.virtual_type)),
        (POLICY, options.has_network_policy),
        (TRUNK, options.has_trunk),
        (PREFIX, options.has_prefixes),
        (KERNEL, kernel),
    )
    changed = ((key.name, value) for key, value in both if value != key.default)
    return {name: one.value if isinstance(one, Enum) else one for name, one in changed}
