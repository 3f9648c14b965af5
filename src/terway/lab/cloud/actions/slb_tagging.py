"""CLB: tags of instances, by both generations of actions.

Source: OpenAPI SLB 2014-05-15, TagResources, UntagResources, ListTagResources, AddTags, RemoveTags.
"""

from __future__ import annotations

from collections.abc import Iterable

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.actions.balancer_tagging import (
    OfClb,
    merge_tags,
    tag_rows,
    take_tags,
    unknown_type,
)
from terway.lab.cloud.actions.slb_words import slb_tags
from terway.lab.cloud.refusal import missing
from terway.lab.cloud.requests import Regional, Request, Tag
from terway.lab.cloud.world import World


def _find(world: World, resource_type: str, ids: tuple[str, ...]) -> list[OfClb]:
    held = world.state.balancing
    match resource_type:
        case "instance":
            return [held.clb(one) for one in ids]
        case "acl":
            return [held.acl(one) for one in ids]
        case "vservergroup":
            return [held.vserver_group(one) for one in ids]
        case _:
            raise unknown_type(resource_type)


def _all(world: World, resource_type: str) -> list[OfClb]:
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
    found = _find(world, request.resource_type, request.resource_id)
    merge_tags(world, found, request.tag)
    return {}


class UntagResources(Regional):
    """The parameters."""

    resource_type: str
    resource_id: tuple[str, ...]
    tag_key: tuple[str, ...] = ()
    all: bool = False


def untag_resources(world: World, request: UntagResources) -> Answer:
    """Remove the tags with the given keys, or all."""
    found = _find(world, request.resource_type, request.resource_id)
    take_tags(world, found, request.tag_key, every=request.all)
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
    asked = set(request.resource_id)
    resources = (one for one in _all(world, request.resource_type) if not asked or one.id in asked)
    rows = tag_rows(request.resource_type, resources, request.tag)
    return {"TagResources": {"TagResource": rows}, "NextToken": ""}


class InstanceTags(Request):
    """The parameters of AddTags and RemoveTags. Tags is a JSON list."""

    load_balancer_id: str
    tags: str


def add_tags(world: World, request: InstanceTags) -> Answer:
    """Add tags to an instance."""
    clb = world.state.balancing.clb(request.load_balancer_id)
    merge_tags(world, (clb,), slb_tags(request.tags))
    return {}


def remove_tags(world: World, request: InstanceTags) -> Answer:
    """Remove tags from an instance."""
    clb = world.state.balancing.clb(request.load_balancer_id)
    take_tags(world, (clb,), (one.key for one in slb_tags(request.tags)))
    return {}


ACTIONS: Actions = {
    "TagResources": Action(request=TagResources, run=tag_resources),
    "UntagResources": Action(request=UntagResources, run=untag_resources),
    "ListTagResources": Action(request=ListTagResources, run=list_tag_resources),
    "AddTags": Action(request=InstanceTags, run=add_tags),
    "RemoveTags": Action(request=InstanceTags, run=remove_tags),
}
