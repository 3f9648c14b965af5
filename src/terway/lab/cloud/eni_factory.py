"""How is an ENI made? The one way, for CreateNetworkInterface and for an instance's first ENI."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from terway.lab.cloud.addresses import (
    choose_v4,
    choose_v6,
    is_usable_v4,
    is_usable_v6,
    offset_of,
)
from terway.lab.cloud.prefixes import take_prefixes_v4, take_prefixes_v6
from terway.lab.cloud.records import ENIRecord, GroupRecord, Tags, VSwitchRecord
from terway.lab.cloud.refusal import Refusal, forbidden, invalid, missing
from terway.lab.cloud.requests import Tag
from terway.lab.cloud.world import World
from terway.model.address import IPAddress
from terway.model.eni import ENIStatus, ENIType
from terway.model.ids import ENIId, SecurityGroupId


@dataclass(frozen=True, slots=True, kw_only=True)
class ENIWish:
    """What a new ENI shall be. Addresses not named are chosen."""

    vswitch: VSwitchRecord
    groups: tuple[GroupRecord, ...]
    primary: IPv4Address | None = None
    secondary: Sequence[IPv4Address] = ()
    secondary_count: int = 0
    ipv6: Sequence[IPv6Address] = ()
    ipv6_count: int = 0
    ipv4_prefixes: int = 0
    ipv6_prefixes: int = 0
    is_erdma: bool = False
    type: ENIType = ENIType.SECONDARY
    name: str = ""
    description: str = ""
    delete_on_release: bool = True
    source_dest_check: bool = True
    resource_group_id: str = ""
    tags: Tags = ()


def make_eni(world: World, wish: ENIWish) -> ENIRecord:
    """Return a new ENI, Available, that is not yet put into the state. Raises Refusal."""
    named = tuple(filter(None, (wish.primary, *wish.secondary)))
    check_free_v4(world, wish.vswitch, named)
    missing_v4 = (0 if wish.primary else 1) + wish.secondary_count
    prefixes = take_prefixes_v4(world, wish.vswitch, wish.ipv4_prefixes)
    avoid = (*named, *(ip for prefix in prefixes for ip in prefix))
    chosen = take_v4(world, wish.vswitch, missing_v4, avoid=avoid)
    ipv4 = (*filter(None, (wish.primary,)), *chosen, *wish.secondary)
    return ENIRecord(
        id=ENIId(world.ids.new("eni")),
        serial=world.ids.serial(),
        mac=world.ids.mac(),
        type=wish.type,
        status=ENIStatus.AVAILABLE,
        vpc_id=wish.vswitch.vpc_id,
        vswitch_id=wish.vswitch.id,
        zone_id=wish.vswitch.zone_id,
        ipv4=ipv4,
        ipv6=take_v6(world, wish.vswitch, wish.ipv6, wish.ipv6_count),
        ipv4_prefixes=prefixes,
        ipv6_prefixes=take_prefixes_v6(world, wish.vswitch, wish.ipv6_prefixes),
        is_erdma=wish.is_erdma,
        security_group_ids=tuple(group.id for group in wish.groups),
        name=wish.name,
        description=wish.description,
        delete_on_release=wish.delete_on_release,
        source_dest_check=wish.source_dest_check,
        created_at=world.now(),
        resource_group_id=wish.resource_group_id,
        tags=wish.tags,
    )


def take_v4(
    world: World, vswitch: VSwitchRecord, count: int, *, avoid: Container[IPv4Address] = ()
) -> tuple[IPv4Address, ...]:
    """Return `count` free IPv4 addresses and move on the vSwitch's cursor. Raises Refusal."""
    state = world.state
    taken = state.taken_v4(vswitch.id)
    after = state.cursors.get(vswitch.id, 0)
    found = choose_v4(vswitch.cidr, taken, count, after=after, avoid=avoid)
    if found:
        state.cursors[vswitch.id] = offset_of(vswitch.cidr, found[-1])
    return found


def check_free_v4(world: World, vswitch: VSwitchRecord, named: Sequence[IPv4Address]) -> None:
    """Refuse named IPv4 addresses that cannot be given."""
    taken = world.state.taken_v4(vswitch.id)
    _check_named(named, taken, [ip for ip in named if not is_usable_v4(vswitch.cidr, ip)])


def take_v6(
    world: World, vswitch: VSwitchRecord, named: Sequence[IPv6Address], count: int
) -> tuple[IPv6Address, ...]:
    """Return the named IPv6 addresses and `count` free ones. Raises Refusal."""
    if not named and not count:
        return ()
    cidr = vswitch.ipv6_cidr
    if cidr is None:
        message = f"IPv6 is not turned on in the vSwitch {vswitch.id}."
        raise forbidden("InvalidVSwitch.Ipv6NotTurnOn", message)
    taken = world.state.taken_v6(vswitch.id)
    _check_named(named, taken, [ip for ip in named if not is_usable_v6(cidr, ip)])
    if named:
        taken = replace(taken, addresses=taken.addresses | set(named))
    return (*named, *choose_v6(cidr, taken, count, random_bits=world.ids.number))


def _check_named(
    named: Sequence[IPAddress], taken: Container[IPAddress], unusable: Sequence[IPAddress]
) -> None:
    if len(set(named)) < len(named):
        raise forbidden("InvalidIp.IpRepeated", "An IP address is specified twice.")
    if unusable:
        message = f"The specified IpAddress {unusable[0]} is not valid in the vSwitch."
        raise forbidden("InvalidVSwitchId.IpInvalid", message)
    assigned = sorted((ip for ip in named if ip in taken), key=str)
    if assigned:
        message = f"The specified IP {assigned[0]} is already assigned."
        raise forbidden("InvalidIp.IpAssigned", message)


def check_groups(
    world: World, vswitch: VSwitchRecord, ids: Sequence[str]
) -> tuple[GroupRecord, ...]:
    """Return the security groups of a new ENI. Raises Refusal."""
    if not ids:
        raise missing("SecurityGroupId")
    groups = tuple(world.state.group(group_id) for group_id in dict.fromkeys(ids))
    if any(group.vpc_id != vswitch.vpc_id for group in groups):
        message = "The security group and the vSwitch are not in the same VPC."
        raise forbidden("InvalidOperation.VpcMismatch", message)
    limit = world.limits.groups_per_eni
    if len(groups) > limit:
        message = f"An ENI can be in {limit} security groups, {len(groups)} wanted."
        raise forbidden("SecurityGroupInstanceLimitExceed", message)
    return groups


def one_of(one: str, many: Sequence[str]) -> Sequence[SecurityGroupId]:
    """Return the ids given as SecurityGroupId or as SecurityGroupIds.N; both are refused."""
    if one and many:
        message = "SecurityGroupId and SecurityGroupIds.N cannot be used together."
        raise Refusal("InvalidParameter.Conflict", message)
    return [SecurityGroupId(group_id) for group_id in (many or filter(None, (one,)))]


def check_tags(world: World, tags: Sequence[Tag]) -> Tags:
    """Return the tags of a request. Raises Refusal."""
    keys = [tag.key for tag in tags]
    if len(set(keys)) < len(keys):
        raise Refusal("Duplicate.TagKey", "The Tag.N.Key contain duplicate key.")
    if any(not key or len(key) > 128 or key.startswith(("aliyun", "acs:")) for key in keys):
        raise Refusal("InvalidTagKey.Malformed", "The specified Tag.n.Key is not valid.")
    if any(len(tag.value) > 128 for tag in tags):
        raise Refusal("InvalidTagValue.Malformed", "The specified Tag.n.Value is not valid.")
    if len(keys) > world.limits.tags_per_resource:
        raise forbidden("QuotaExceed.Tags", f"{len(keys)} tags are more than the quota.")
    return tuple((tag.key, tag.value) for tag in tags)


def check_count(parameter: str, count: int | None, *, most: int) -> int:
    """Return a count of new addresses; None is 0. Raises Refusal."""
    if count is None:
        return 0
    if not 1 <= count <= most:
        raise invalid(parameter, f"{count} is not in 1 to {most}")
    return count
