"""NLB: tags of instances, server groups and listeners.

Source: OpenAPI NLB 2022-04-30, TagResources, UntagResources, ListTagResources.
"""

from __future__ import annotations

from collections.abc import Iterable

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.actions.balancer_tagging import (
    OfNlb,
    merge_tags,
    tag_rows,
    take_tags,
    unknown_type,
)
from terway.lab.cloud.requests import Request, Tag
from terway.lab.cloud.world import World


def _find(world: World, resource_type: str, ids: tuple[str, ...]) -> list[OfNlb]:
    held = world.state.balancing
    match resource_type:
        case "loadbalancer":
            return [held.nlb(one) for one in ids]
        case "servergroup":
            return [held.server_group(one) for one in ids]
        case "listener":
            return [held.nlb_listener(one) for one in ids]
        case _:
            raise unknown_type(resource_type)


class TagResources(Request):
    """The parameters."""

    resource_type: str
    resource_id: tuple[str, ...]
    tag: tuple[Tag, ...]
    client_token: str = ""


def tag_resources(world: World, request: TagResources) -> Answer:
    """Add tags; one with the same key is replaced."""
    found = _find(world, request.resource_type, request.resource_id)
    merge_tags(world, found, request.tag)
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
    found = _find(world, request.resource_type, request.resource_id)
    take_tags(world, found, request.tag_key, every=request.all)
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
    resources = _find(world, request.resource_type, ids)
    rows = tag_rows(request.resource_type, resources, request.tag)
    return {"TagResources": rows, "NextToken": "", "TotalCount": len(rows)}


ACTIONS: Actions = {
    "TagResources": Action(request=TagResources, run=tag_resources),
    "UntagResources": Action(request=UntagResources, run=untag_resources),
    "ListTagResources": Action(request=ListTagResources, run=list_tag_resources),
}
