"""How are a load balancer's tags, and those of what is behind it, kept? Alike in both products."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from terway.lab.cloud.actions.eni_queries import has_tags
from terway.lab.cloud.balancer_records import (
    AclRecord,
    ClbRecord,
    NlbListenerRecord,
    NlbRecord,
    ServerGroupRecord,
    VServerGroupRecord,
)
from terway.lab.cloud.eni_factory import check_tags
from terway.lab.cloud.refusal import Refusal
from terway.lab.cloud.requests import Tag
from terway.lab.cloud.world import World

OfClb = ClbRecord | AclRecord | VServerGroupRecord
OfNlb = NlbRecord | ServerGroupRecord | NlbListenerRecord


def unknown_type(resource_type: str) -> Refusal:
    """Return the refusal of a kind of resource that has no tags here."""
    message = f"ResourceType {resource_type} is not emulated."
    return Refusal("InvalidResourceType.NotFound", message, status=404)


def merge_tags(world: World, resources: Iterable[OfClb | OfNlb], tags: Sequence[Tag]) -> None:
    """Add tags; one with the same key is replaced. Raises Refusal."""
    for one in resources:
        merged = {**dict(one.tags), **dict(check_tags(world, tags))}
        checked = check_tags(world, [Tag(key=key, value=merged[key]) for key in merged])
        world.state.balancing.put(replace(one, tags=checked))


def take_tags(
    world: World, resources: Iterable[OfClb | OfNlb], keys: Iterable[str], *, every: bool = False
) -> None:
    """Remove the tags with the given keys, or each one."""
    gone = set(keys)
    for one in resources:
        kept = () if every else tuple(tag for tag in one.tags if tag[0] not in gone)
        world.state.balancing.put(replace(one, tags=kept))


def tag_rows(
    resource_type: str, resources: Iterable[OfClb | OfNlb], tags: Sequence[Tag]
) -> list[dict[str, str]]:
    """Return the rows of ListTagResources: all tags of the resources that have `tags`."""
    return [
        {"ResourceId": one.id, "ResourceType": resource_type, "TagKey": key, "TagValue": value}
        for one in resources
        if has_tags(one.tags, tags)
        for key, value in one.tags
    ]
