"""CLB: tags of instances, by both generations of actions.

Source: OpenAPI SLB 2014-05-15, TagResources, UntagResources, ListTagResources, AddTags, RemoveTags.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.actions.eni_queries import has_tags
from terway.lab.cloud.actions.slb_words import slb_tags
from terway.lab.cloud.balancer_records import AclRecord, ClbRecord, VServerGroupRecord
from terway.lab.cloud.eni_factory import check_tags
from terway.lab.cloud.refusal import Refusal, missing
from terway.lab.cloud.requests import Regional, Request, Tag
from terway.lab.cloud.world import World

Tagged = ClbRecord | AclRecord | VServerGroupRecord


def _find(world: World, resource_type: str, ids: tuple[str, ...]) -> list[Tagged]:
    held = world.state.balancing
    match resource_type:
        case "instance":
            return [held.clb(one) for one in ids]
        case "acl":
            return [held.acl(one) for one in ids]
        case "vservergroup":
            return [held.vserver_group(one) for one in ids]
        case _:
            message = f"ResourceType {resource_type} is not emulated."
            raise Refusal("InvalidResourceType.NotFound", message, status=404)


def _all(world: World, resource_type: str) -> list[Tagged]:
    held = world.state.balancing
    tables: dict[str, Iterable[str]] = {
        "instance": held.clbs,
        "acl": held.acls,
        "vservergroup": held.vserver_groups,
    }
    return _find(world, resource_type, tuple(tables.get(resource_type, ())))


class TagResources(Regional):
    """The parameters."""

    resource_type: str
    resource_id: tuple[str, ...]
    tag: tuple[Tag, ...]


def tag_resources(world: World, request: TagResources) -> Answer:
    """Add tags; one with the same key is replaced."""
    for one in _find(world, request.resource_type, request.resource_id):
        _merge(world, one, request.tag)
    return {}


def _merge(world: World, one: Tagged, tags: tuple[Tag, ...]) -> None:
    merged = {**dict(one.tags), **dict(check_tags(world, tags))}
    checked = check_tags(world, [Tag(key=key, value=merged[key]) for key in merged])
    world.state.balancing.put(replace(one, tags=checked))


class UntagResources(Regional):
    """The parameters."""

    resource_type: str
    resource_id: tuple[str, ...]
    tag_key: tuple[str, ...] = ()
    all: bool = False


def untag_resources(world: World, request: UntagResources) -> Answer:
    """Remove the tags with the given keys, or all."""
    for one in _find(world, request.resource_type, request.resource_id):
        left = () if request.all else one.tags
        kept = tuple(tag for tag in left if tag[0] not in request.tag_key)
        world.state.balancing.put(replace(one, tags=kept))
    return {}


class ListTagResources(Regional):
    """The parameters; at least one of ResourceId.N and Tag.N. All matches are on one page."""

    resource_type: str
    resource_id: tuple[str, ...] = ()
    tag: tuple[Tag, ...] = ()
    next_token: str = ""


def list_tag_resources(world: World, request: ListTagResources) -> Answer:
    """List the tags of resources."""
    if not request.resource_id and not request.tag:
        raise missing("ResourceId")
    found = [
        {"ResourceId": one.id, "ResourceType": request.resource_type, "TagKey": k, "TagValue": v}
        for one in _all(world, request.resource_type)
        if not request.resource_id or one.id in request.resource_id
        if has_tags(one.tags, request.tag)
        for k, v in one.tags
    ]
    return {"TagResources": {"TagResource": found}, "NextToken": ""}


class InstanceTags(Request):
    """The parameters of AddTags and RemoveTags. Tags is a JSON list."""

    load_balancer_id: str
    tags: str


def add_tags(world: World, request: InstanceTags) -> Answer:
    """Add tags to an instance."""
    clb = world.state.balancing.clb(request.load_balancer_id)
    _merge(world, clb, slb_tags(request.tags))
    return {}


def remove_tags(world: World, request: InstanceTags) -> Answer:
    """Remove tags from an instance."""
    clb = world.state.balancing.clb(request.load_balancer_id)
    gone = {one.key for one in slb_tags(request.tags)}
    kept = tuple(tag for tag in clb.tags if tag[0] not in gone)
    world.state.balancing.put(replace(clb, tags=kept))
    return {}


ACTIONS: Actions = {
    "TagResources": Action(request=TagResources, run=tag_resources),
    "UntagResources": Action(request=UntagResources, run=untag_resources),
    "ListTagResources": Action(request=ListTagResources, run=list_tag_resources),
    "AddTags": Action(request=InstanceTags, run=add_tags),
    "RemoveTags": Action(request=InstanceTags, run=remove_tags),
}
