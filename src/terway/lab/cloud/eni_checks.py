"""May this be done with an ENI now? What several actions ask of its state, place and room.

A limit that no source gives is refused by name: see `instance_types`.
"""

from __future__ import annotations

from collections.abc import Sequence

from terway.lab.cloud.instance_types import InstanceType
from terway.lab.cloud.records import ENIRecord, InstanceRecord, InstanceStatus
from terway.lab.cloud.refusal import Refusal, forbidden, unsupported
from terway.lab.cloud.world import World
from terway.model.eni import ENIStatus, ENIType


def expect_status(eni: ENIRecord, *statuses: ENIStatus) -> None:
    """Refuse an ENI in another state."""
    if eni.status not in statuses:
        wanted = "/".join(status.value for status in statuses)
        message = (
            "The operation is not allowed in the current ENI state. "
            f'Expecting status is "{wanted}" while current status is "{eni.status.value}".'
        )
        raise Refusal("InvalidOperation.InvalidEniState", message)


def expect_type(eni: ENIRecord, kind: ENIType) -> None:
    """Refuse an ENI of another type."""
    if eni.type is not kind:
        message = f"{eni.id} is of type {eni.type.value}; the operation wants {kind.value}."
        raise Refusal("InvalidOperation.InvalidEniType", message)


def check_place(eni: ENIRecord, instance: InstanceRecord) -> None:
    """Refuse an ENI of another VPC or zone than the instance."""
    if eni.vpc_id != instance.vpc_id:
        message = "The ENI and the instance are not in the same VPC."
        raise forbidden("InvalidOperation.VpcMismatch", message)
    if eni.zone_id != instance.zone_id:
        message = f"The ENI is in {eni.zone_id}, the instance in {instance.zone_id}."
        raise forbidden("InvalidOperation.AvailabilityZoneMismatch", message)


def check_ecs_state(instance: InstanceRecord) -> None:
    """Refuse an instance that is neither running nor stopped."""
    if instance.status not in (InstanceStatus.RUNNING, InstanceStatus.STOPPED):
        message = f"The instance is {instance.status.value}; it must be Running or Stopped."
        raise Refusal("InvalidOperation.InvalidEcsState", message)


def check_room(
    world: World, eni: ENIRecord, instance: InstanceRecord, attached: Sequence[ENIRecord]
) -> None:
    """Refuse one device more than the instance's type allows beside those `attached`."""
    kind = world.types[instance.instance_type]
    devices = [one for one in attached if one.trunk_id is None]
    if len(devices) >= kind.eni_quantity:
        message = f"{kind.id} can have {kind.eni_quantity} ENIs, and has them."
        raise forbidden("EniPerInstanceLimitExceeded", message)
    if eni.type is ENIType.TRUNK:
        check_trunk_support(kind)
        _check_only_trunk(kind, devices)
    if eni.is_erdma:
        _check_erdma(kind, devices)
    check_address_limits(world, eni, instance)


def check_trunk_support(kind: InstanceType) -> None:
    """Refuse trunks and members on a type that has none, or of which nobody published it."""
    if kind.eni_trunk_supported is None or kind.eni_total_quantity is None:
        raise unsupported("AttachNetworkInterface", f"EniTrunkSupported of {kind.id}")
    if not kind.eni_trunk_supported:
        message = f"Instances of type {kind.id} do not support trunk ENIs."
        raise forbidden("InvalidOperation.InstanceTypeNotSupport", message)


def _check_only_trunk(kind: InstanceType, devices: Sequence[ENIRecord]) -> None:
    if any(one.type is ENIType.TRUNK for one in devices):
        message = f"An instance of type {kind.id} can have one trunk ENI, and has it."
        raise forbidden("EniPerInstanceLimitExceeded", message)


def _check_erdma(kind: InstanceType, devices: Sequence[ENIRecord]) -> None:
    if kind.eri_quantity is None:
        raise unsupported("AttachNetworkInterface", f"EriQuantity of {kind.id}")
    if sum(eni.is_erdma for eni in devices) >= kind.eri_quantity:
        message = f"{kind.id} can have {kind.eri_quantity} elastic RDMA interfaces."
        raise forbidden("EniPerInstanceLimitExceeded", message)


def check_address_limits(world: World, eni: ENIRecord, instance: InstanceRecord) -> None:
    """Refuse more addresses on an ENI than the instance's type allows, or than is known of it."""
    kind = world.types[instance.instance_type]
    ipv4 = len(eni.ipv4) + len(eni.ipv4_prefixes)
    ipv6 = len(eni.ipv6) + len(eni.ipv6_prefixes)
    _check_limit(4, kind.id, ipv4, kind.eni_private_ip_address_quantity)
    if ipv6:
        _check_limit(6, kind.id, ipv6, kind.eni_ipv6_address_quantity)


def _check_limit(version: int, kind: str, wanted: int, limit: int | None) -> None:
    if limit is None:
        message = f"No source gives the IPv{version} addresses per ENI of {kind}."
        raise forbidden(f"InvalidOperation.Ipv{version}NotSupport", message)
    if wanted > limit:
        message = f"An ENI of {kind} can have {limit} IPv{version} addresses, {wanted} wanted."
        raise forbidden(f"InvalidOperation.Ipv{version}CountExceeded", message)
