"""NLB: tags of instances, server groups and listeners.

Source: OpenAPI NLB 2022-04-30, TagResources, UntagResources, ListTagResources.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.actions.eni_queries import has_tags
from terway.lab.cloud.balancer_records import NlbListenerRecord, NlbRecord, ServerGroupRecord
from terway.lab.cloud.eni_factory import check_tags
from terway.lab.cloud.refusal import Refusal
from terway.lab.cloud.requests import Request, Tag
from terway.lab.cloud.world import World

Tagged = NlbRecord | ServerGroupRecord | NlbListenerRecord


def _find(world: World, resource_type: str, ids: tuple[str, ...]) -> list[Tagged]:
    held = world.state.balancing
    match resource_type:
        case "loadbalancer":
            return [held.nlb(one) for one in ids]
        case "servergroup":
            return [held.server_group(one) for one in ids]
        case "listener":
            return [held.nlb_listener(one) for one in ids]
        case _:
            message = f"ResourceType {resource_type} is not emulated."
            raise Refusal("InvalidResourceType.NotFound", message, status=404)


class TagResources(Request):
    """The parameters."""

    resource_type: str
    resource_id: tuple[str, ...]
    tag: tuple[Tag, ...]
    client_token: str = ""


def tag_resources(world: World, request: TagResources) -> Answer:
    """Add tags; one with the same key is replaced."""
    for one in _find(world, request.resource_type, request.resource_id):
        merged = {**dict(one.tags), **dict(check_tags(world, request.tag))}
        checked = check_tags(world, [Tag(key=key, value=merged[key]) for key in merged])
        world.state.balancing.put(replace(one, tags=checked))
    return {}


class UntagResources(Request):
    """The parameters."""

    resource_type: str
    resource_id: tuple[str, ...]
    tag_key: tuple[str, ...] = ()
    all: bool = False
    client_token: str = ""


def untag_resources(world: World, request: UntagResources) -> Answer:
    """Remove the tags with the given keys, or all."""
    for one in _find(world, request.resource_type, request.resource_id):
        left = () if request.all else one.tags
        kept = tuple(tag for tag in left if tag[0] not in request.tag_key)
        world.state.balancing.put(replace(one, tags=kept))
    return {}


class ListTagResources(Request):
    """The parameters. All matches are on one page."""

    resource_type: str
    resource_id: tuple[str, ...] = ()
    tag: tuple[Tag, ...] = ()
    max_results: int = 50
    next_token: str = ""


def list_tag_resources(world: World, request: ListTagResources) -> Answer:
    """List the tags of resources."""
    held = world.state.balancing
    tables: dict[str, Iterable[str]] = {
        "loadbalancer": held.nlbs,
        "servergroup": held.server_groups,
        "listener": held.nlb_listeners,
    }
    ids = request.resource_id or tuple(tables.get(request.resource_type, ()))
    found = [
        {"ResourceId": one.id, "ResourceType": request.resource_type, "TagKey": k, "TagValue": v}
        for one in _find(world, request.resource_type, ids)
        if has_tags(one.tags, request.tag)
        for k, v in one.tags
    ]
    return {"TagResources": found, "NextToken": "", "TotalCount": len(found)}


ACTIONS: Actions = {
    "TagResources": Action(request=TagResources, run=tag_resources),
    "UntagResources": Action(request=UntagResources, run=untag_resources),
    "ListTagResources": Action(request=ListTagResources, run=list_tag_resources),
}
