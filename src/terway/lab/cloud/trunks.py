"""May this ENI become a member of that trunk, and under which VLAN id?

A member has no device of its own: its frames travel on the trunk's, tagged with the id that
DescribeNetworkInterfaces shows as Attachment.DeviceIndex. No source says how the real cloud
chooses it; here it is the lowest that is free on the trunk.
"""

from __future__ import annotations

from collections.abc import Sequence

from terway.lab.cloud.eni_checks import check_address_limits, check_trunk_support, expect_type
from terway.lab.cloud.records import ENIRecord, InstanceRecord
from terway.lab.cloud.refusal import Refusal, forbidden, invalid, missing
from terway.lab.cloud.world import World
from terway.model.eni import ENIStatus, ENIType

TRUNK_PARAMETER = "TrunkNetworkInstanceId"
VLAN_IDS = range(1, 4095)  # IEEE 802.1Q: 0 is no VLAN, 4095 reserved


def check_trunk(world: World, trunk_id: str, instance: InstanceRecord) -> ENIRecord:
    """Return the trunk that a member is to go to. Raises Refusal."""
    trunk = world.state.eni(trunk_id)
    expect_type(trunk, ENIType.TRUNK)
    if trunk.status is not ENIStatus.IN_USE:
        message = f'The trunk {trunk.id} is "{trunk.status.value}"; it must be "InUse".'
        raise Refusal("InvalidOperation.InvalidEniState", message)
    if trunk.instance_id != instance.id:
        raise invalid(TRUNK_PARAMETER, f"{trunk.id} is attached to {trunk.instance_id}")
    return trunk


def check_member_room(
    world: World, eni: ENIRecord, instance: InstanceRecord, attached: Sequence[ENIRecord]
) -> None:
    """Refuse one member more than the instance's type allows beside those `attached`."""
    kind = world.types[instance.instance_type]
    expect_type(eni, ENIType.SECONDARY)
    check_trunk_support(kind)
    most = (kind.eni_total_quantity or 0) - kind.eni_quantity
    if len(members_of(attached)) >= most:
        message = f"{kind.id} can have {most} member ENIs, and has them."
        raise forbidden("EniPerInstanceLimitExceeded", message)
    check_address_limits(world, eni, instance)


def free_vlan_id(attached: Sequence[ENIRecord]) -> int:
    """Return the lowest VLAN id that no ENI of the instance has."""
    used = {eni.vlan_id for eni in attached}
    return next(vlan_id for vlan_id in VLAN_IDS if vlan_id not in used)


def members_of(attached: Sequence[ENIRecord]) -> list[ENIRecord]:
    """Return the members among an instance's ENIs."""
    return [eni for eni in attached if eni.trunk_id is not None]


def check_detachable(eni: ENIRecord, trunk_id: str, attached: Sequence[ENIRecord]) -> None:
    """Refuse a trunk that still has members, and a member without, or with another, trunk."""
    if eni.type is ENIType.TRUNK and (members := members_of(attached)):
        message = f"The trunk {eni.id} has {len(members)} member ENIs; detach them first."
        raise Refusal("InvalidOperation.InvalidEniState", message)
    if eni.trunk_id is not None and not trunk_id:
        raise missing(TRUNK_PARAMETER)
    if trunk_id and eni.trunk_id != trunk_id:
        raise invalid(TRUNK_PARAMETER, f"{eni.id} is no member of {trunk_id}")
