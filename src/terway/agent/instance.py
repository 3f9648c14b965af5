"""What is this instance? Read from the metadata service and the cloud, kept for the next start.

What was kept is used at a start, and only for the same instance: a disk may have been copied to
another one. What the cloud allows an instance of a type can change, although it seldom does: it is
asked again once a day, and a change counts from the next start on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import structlog

from terway.agent.pool_settings import InstanceFacts
from terway.cloud.ecs import EcsClient
from terway.cloud.metadata import MetadataClient
from terway.ipam.chance import fraction
from terway.model.eni import ENIType, InstanceLimits
from terway.model.errors import TransientError, UsageError, VpcError
from terway.model.ids import InstanceId, RegionId, SecurityGroupId, VSwitchId, ZoneId

ASK_EVERY_S = 86_400.0

_log = structlog.get_logger("instance")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What the metadata service says: who and where this instance is."""

    instance_id: InstanceId
    instance_type: str
    region_id: RegionId
    zone_id: ZoneId
    vswitch_id: VSwitchId


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What the cloud says: the type's limits, and the primary ENI's security groups."""

    limits: InstanceLimits
    security_group_ids: tuple[SecurityGroupId, ...]


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one instance."""

    place: Place
    allowance: Allowance | None = None


class InstanceFile:
    """What the last start learnt, as JSON. A file that cannot be read is no file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Known | None:
        """Return what is kept, or None."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Known)
        except (OSError, msgspec.DecodeError):
            return None

    def write(self, known: Known) -> None:
        """Keep `known`. After a crash there is the old file or the new one."""
        draft = self._path.with_suffix(".draft")
        draft.write_bytes(msgspec.json.encode(known))
        draft.rename(self._path)


async def read_place(metadata: MetadataClient, kept: Known | None) -> Place:
    """Return who and where this instance is. Raises TransientError if nobody knows."""
    failures: list[Exception] = []
    try:
        return await _ask_place(metadata)
    except* TransientError as group:
        failures += group.exceptions
    if kept is None:
        raise TransientError(f"the first start needs the metadata service: {failures[0]}")
    _log.warning("instance.from_file", error=str(failures[0]))
    return kept.place


async def _ask_place(metadata: MetadataClient) -> Place:
    async with asyncio.TaskGroup() as tasks:
        instance_id = tasks.create_task(metadata.instance_id())
        instance_type = tasks.create_task(metadata.instance_type())
        region_id = tasks.create_task(metadata.region_id())
        zone_id = tasks.create_task(metadata.zone_id())
        vswitch_id = tasks.create_task(metadata.vswitch_id())
    return Place(
        instance_id=instance_id.result(),
        instance_type=instance_type.result(),
        region_id=region_id.result(),
        zone_id=zone_id.result(),
        vswitch_id=vswitch_id.result(),
    )


async def read_allowance(cloud: EcsClient, place: Place, kept: Known | None) -> Allowance:
    """Return what the cloud allows this instance; what is kept of it needs no call."""
    if kept is not None and kept.place == place and kept.allowance is not None:
        return kept.allowance
    return await _ask_allowance(cloud, place)


async def keep_allowance_current(
    cloud: EcsClient,
    file: InstanceFile,
    known: Known,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Ask the cloud once a day what it allows, and keep that for the next start.

    Runs until cancelled. The first time is some hour of the day after the start that differs from
    node to node: a thousand nodes start together.
    """
    await sleep(ASK_EVERY_S * fraction(known.place.instance_id, 0))
    while True:
        try:
            found = await _ask_allowance(cloud, known.place)
        except VpcError as error:
            _log.info("instance.not_asked", error=str(error))
        else:
            if found != known.allowance:
                _log.warning(
                    "instance.allowance_changed",
                    before=str(known.allowance),
                    now=str(found),
                    remedy="restart terwayd to follow",
                )
                known = Known(place=known.place, allowance=found)
                file.write(known)
        await sleep(ASK_EVERY_S)


async def _ask_allowance(cloud: EcsClient, place: Place) -> Allowance:
    limits = await cloud.describe_instance_types([place.instance_type])
    enis = await cloud.describe_enis(instance_id=place.instance_id, type=ENIType.PRIMARY)
    if not limits or not enis:
        missing = "the limits of its type" if not limits else "its primary ENI"
        text = f"instance {place.instance_id} ({place.instance_type}): the cloud hides {missing}"
        raise UsageError(text, field="instance_type")
    return Allowance(limits=limits[0], security_group_ids=enis[0].security_group_ids)


def instance_facts(place: Place, allowance: Allowance) -> InstanceFacts:
    """Return the two as the pool's settings want them."""
    return InstanceFacts(
        instance_id=place.instance_id,
        zone_id=place.zone_id,
        vswitch_id=place.vswitch_id,
        security_group_ids=allowance.security_group_ids,
        limits=allowance.limits,
    )
