"""Makes a planned network in the cloud: what is there already stays, what differs is refused.

read ──► plan_steps ──nothing left──► done
  ▲          └──► do them ──┐         A lost answer, a crash or a second run begin at "read".
  └─────────────────────────┘
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import assert_never
from uuid import uuid4

from terway.capacity.network_plan import NetworkPlan, PlannedVSwitch
from terway.cloud.network import FoundGroup, FoundVpc, FoundVSwitch, NetworkClient
from terway.model.address import Family, IPNetwork
from terway.model.errors import TransientError, UsageError
from terway.model.ids import ClientToken, SecurityGroupId, VpcId

TAG = "terway.alibabacloud.com/plan"
WAIT_S = 1.0  # between two looks at what is being made
PATIENCE = 120  # looks


@dataclass(frozen=True, slots=True, kw_only=True)
class Existing:
    """What there is of the plan. `vswitches` are all of the VPC's, whoever made them."""

    vpc: FoundVpc | None = None
    vswitches: tuple[FoundVSwitch, ...] = ()
    group: FoundGroup | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeVpc:
    """Make the VPC."""

    def __str__(self) -> str:
        return "create the VPC"


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeVSwitch:
    """Make a vSwitch in the VPC that is there."""

    vpc_id: VpcId
    vswitch: PlannedVSwitch
    ipv6_number: int | None

    def __str__(self) -> str:
        one = self.vswitch
        return f"create vSwitch {one.name}, {one.cidr} in {one.zone_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeGroup:
    """Make the security group."""

    vpc_id: VpcId

    def __str__(self) -> str:
        return "create the security group"


@dataclass(frozen=True, slots=True, kw_only=True)
class LetIn:
    """Let everything from a range into the security group."""

    group_id: SecurityGroupId
    source: IPNetwork

    def __str__(self) -> str:
        return f"let {self.source} into the security group"


@dataclass(frozen=True, slots=True, kw_only=True)
class Await:
    """Wait until the cloud has made what it was asked for."""

    what: str

    def __str__(self) -> str:
        return f"wait for {self.what}"


Step = MakeVpc | MakeVSwitch | MakeGroup | LetIn | Await


def plan_steps(plan: NetworkPlan, name: str, there: Existing) -> tuple[Step, ...]:
    """Return what can be done now towards `plan`; nothing when all is there.

    Raises UsageError when something with the plan's name is not as planned: it may be in use.
    """
    vpc = there.vpc
    if vpc is None:
        return (MakeVpc(),)
    _require_same(name, "VPC", "CIDR", vpc.cidr, plan.vpc_cidr)
    _require_same(name, "VPC", "IPv6", vpc.ipv6_cidr is not None, _has_ipv6(plan))
    if not vpc.is_available:
        return (Await(what=f"VPC {vpc.id}"),)
    return (*_vswitch_steps(plan, vpc, there.vswitches), *_group_steps(plan, vpc, there.group))


def _vswitch_steps(
    plan: NetworkPlan, vpc: FoundVpc, found: tuple[FoundVSwitch, ...]
) -> Iterator[Step]:
    named = {one.name: one for one in found}
    for number, wanted in enumerate(plan.vswitches):
        one = named.get(wanted.name)
        if one is None:
            ipv6_number = number if _has_ipv6(plan) else None
            yield MakeVSwitch(vpc_id=vpc.id, vswitch=wanted, ipv6_number=ipv6_number)
            continue
        _require_same(wanted.name, "vSwitch", "CIDR", one.cidr, wanted.cidr)
        _require_same(wanted.name, "vSwitch", "zone", one.zone_id, wanted.zone_id)
        if not one.is_available:
            yield Await(what=f"vSwitch {one.id}")


def _group_steps(plan: NetworkPlan, vpc: FoundVpc, group: FoundGroup | None) -> Iterator[Step]:
    if group is None:
        yield MakeGroup(vpc_id=vpc.id)
        return
    sources = (plan.vpc_cidr, *((vpc.ipv6_cidr,) if vpc.ipv6_cidr else ()))
    for source in sources:
        if source not in group.open_to:
            yield LetIn(group_id=group.id, source=source)


def _has_ipv6(plan: NetworkPlan) -> bool:
    return Family.V6 in plan.options.stack.families


def _require_same(name: str, kind: str, what: str, found: object, wanted: object) -> None:
    if found != wanted:
        text = (
            f"{kind} {name} is there with {what} {found}, and the plan wants {wanted}: "
            "it cannot be changed. Take another name, or remove it"
        )
        raise UsageError(text, field=f"{kind} {name}")


async def build(
    plan: NetworkPlan,
    name: str,
    cloud: NetworkClient,
    *,
    tell: Callable[[str], None],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Existing:
    """Make what is missing of `plan`, and return all of it. Safe to repeat, and to interrupt.

    Raises UsageError for what is there and differs, TransientError when the cloud does not come
    to an end.
    """
    run = uuid4().hex[:12]
    told: set[str] = set()
    for _ in range(PATIENCE):
        there = await read_existing(name, cloud)
        steps = plan_steps(plan, name, there)
        if not steps:
            return there
        for step in steps:
            if str(step) not in told:
                told.add(str(step))
                tell(str(step))
            await _do(step, plan, name, cloud, run)
        if any(isinstance(step, Await) for step in steps):
            await sleep(WAIT_S)
    raise TransientError(f"the cloud still does not have: {', '.join(sorted(told))}")


async def read_existing(name: str, cloud: NetworkClient) -> Existing:
    """Return what there is of the plan `name`."""
    tag = (TAG, name)
    vpcs = [one for one in await cloud.vpcs(tag) if one.name == name]
    if len(vpcs) > 1:
        ids = ", ".join(one.id for one in vpcs)
        raise UsageError(f"{len(vpcs)} VPCs are named {name}: {ids}. Remove all but one")
    if not vpcs:
        return Existing()
    groups = [one for one in await cloud.groups(vpcs[0].id, tag) if one.name == name]
    return Existing(
        vpc=vpcs[0],
        vswitches=await cloud.vswitches(vpcs[0].id),
        group=groups[0] if groups else None,
    )


async def _do(step: Step, plan: NetworkPlan, name: str, cloud: NetworkClient, run: str) -> None:
    tag = (TAG, name)
    match step:
        case MakeVpc():
            await cloud.create_vpc(
                name=name,
                cidr=plan.vpc_cidr,
                has_ipv6=_has_ipv6(plan),
                tag=tag,
                token=ClientToken(f"{run}-vpc"),
            )
        case MakeVSwitch(vpc_id=vpc_id, vswitch=one, ipv6_number=number):
            await cloud.create_vswitch(
                vpc_id=vpc_id,
                name=one.name,
                zone_id=one.zone_id,
                cidr=one.cidr,
                ipv6_number=number,
                tag=tag,
                token=ClientToken(f"{run}-{one.name}"),
            )
        case MakeGroup(vpc_id=vpc_id):
            token = ClientToken(f"{run}-group")
            await cloud.create_group(vpc_id=vpc_id, name=name, tag=tag, token=token)
        case LetIn(group_id=group_id, source=source):
            await cloud.let_in(group_id, source)
        case Await():
            pass
        case _:
            assert_never(step)
