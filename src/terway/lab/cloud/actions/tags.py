"""ECS: tags of instances, ENIs and security groups.

Source: OpenAPI ECS 2014-05-26, TagResources, UntagResources and ListTagResources.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.actions.eni_queries import has_tags
from terway.lab.cloud.eni_factory import check_tags
from terway.lab.cloud.records import ENIRecord, GroupRecord, InstanceRecord
from terway.lab.cloud.refusal import Refusal, invalid, missing, not_found
from terway.lab.cloud.requests import Regional, Tag
from terway.lab.cloud.world import World

Tagged = ENIRecord | InstanceRecord | GroupRecord
RESOURCE_TYPES = ("eni", "instance", "securitygroup")
MAX_RESOURCES = 50


def _table(
    world: World, resource_type: str
) -> dict[str, ENIRecord] | dict[str, InstanceRecord] | dict[str, GroupRecord]:
    match resource_type.lower():
        case "eni":
            return world.state.enis
        case "instance":
            return world.state.instances
        case "securitygroup":
            return world.state.groups
        case _:
            known = ", ".join(RESOURCE_TYPES)
            message = f"ResourceType {resource_type} is not emulated; known: {known}."
            raise Refusal("InvalidResourceType.NotFound", message, status=404)


def _resources(world: World, resource_type: str, ids: tuple[str, ...]) -> list[Tagged]:
    table = _table(world, resource_type)
    if not ids:
        raise missing("ResourceId")
    if len(ids) > MAX_RESOURCES:
        raise invalid("ResourceId.N", f"at most {MAX_RESOURCES} at once")
    for resource_id in ids:
        if resource_id not in table:
            raise not_found("ResourceId", resource_id)
    return [table[resource_id] for resource_id in ids]


class TagResources(Regional):
    """The parameters."""

    resource_type: str
    resource_id: tuple[str, ...]
    tag: tuple[Tag, ...]


def tag_resources(world: World, request: TagResources) -> Answer:
    """Add tags to resources; one with the same key is replaced."""
    new = dict(check_tags(world, request.tag))
    for resource in _resources(world, request.resource_type, request.resource_id):
        merged = {**dict(resource.tags), **new}
        checked = check_tags(world, [Tag(key=key, value=merged[key]) for key in merged])
        world.state.put(replace(resource, tags=checked))
    return {}


class UntagResources(Regional):
    """The parameters."""

    resource_type: str
    resource_id: tuple[str, ...]
    tag_key: tuple[str, ...] = ()
    all: bool = False


def untag_resources(world: World, request: UntagResources) -> Answer:
    """Remove tags from resources: those with the given keys, or all."""
    if not request.tag_key and not request.all:
        raise missing("TagKey")
    for resource in _resources(world, request.resource_type, request.resource_id):
        left = () if request.all else resource.tags
        tags = tuple(tag for tag in left if tag[0] not in request.tag_key)
        world.state.put(replace(resource, tags=tags))
    return {}


class ListTagResources(Regional):
    """The parameters; at least one of ResourceId.N and Tag.N. All matches are on one page."""

    resource_type: str
    resource_id: tuple[str, ...] = ()
    tag: tuple[Tag, ...] = ()


def list_tag_resources(world: World, request: ListTagResources) -> Answer:
    """List the tags of resources."""
    if not request.resource_id and not request.tag:
        raise missing("ResourceId")
    listed = [
        {"ResourceId": i, "ResourceType": request.resource_type, "TagKey": k, "TagValue": v}
        for i, k, v in _matches(world, request)
    ]
    return {"TagResources": {"TagResource": listed}, "NextToken": ""}


def _matches(world: World, request: ListTagResources) -> Iterator[tuple[str, str, str]]:
    keys = {tag.key for tag in request.tag}
    for resource in _table(world, request.resource_type).values():
        if request.resource_id and resource.id not in request.resource_id:
            continue
        if has_tags(resource.tags, request.tag):
            wanted = (tag for tag in resource.tags if not keys or tag[0] in keys)
            yield from ((resource.id, key, value) for key, value in wanted)


ACTIONS: Actions = {
    "TagResources": Action(request=TagResources, run=tag_resources),
    "UntagResources": Action(request=UntagResources, run=untag_resources),
    "ListTagResources": Action(request=ListTagResources, run=list_tag_resources),
}
