"""Which actions are there? By product, which a call names by its API version.

What is not in here is refused by name: InvalidVersion, InvalidAction.NotFound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from terway.lab.cloud.action import Action, Actions
from terway.lab.cloud.actions import (
    eni_addresses,
    eni_attachments,
    eni_queries,
    enis,
    group_rules,
    instance_attributes,
    instance_queries,
    instances,
    nlb_groups,
    nlb_instances,
    nlb_jobs,
    nlb_listeners,
    nlb_queries,
    nlb_security,
    nlb_servers,
    nlb_tagging,
    regions,
    routes,
    security_groups,
    slb_access,
    slb_certificates,
    slb_groups,
    slb_http_listeners,
    slb_instances,
    slb_listener_queries,
    slb_listeners,
    slb_settings,
    slb_tagging,
    sts,
    tags,
    vpcs,
    vswitches,
)
from terway.lab.cloud.refusal import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One product's API. `name` is what RAM policies and host names call it."""

    name: str
    actions: Actions


ECS = Product(
    name="ecs",
    actions={
        **enis.ACTIONS,
        **eni_attachments.ACTIONS,
        **eni_queries.ACTIONS,
        **eni_addresses.ACTIONS,
        **instances.ACTIONS,
        **instance_queries.ACTIONS,
        **instance_attributes.ACTIONS,
        **security_groups.ACTIONS,
        **group_rules.ACTIONS,
        **tags.ACTIONS,
        **regions.ACTIONS,
    },
)
VPC = Product(name="vpc", actions={**vpcs.ACTIONS, **vswitches.ACTIONS, **routes.ACTIONS})
STS = Product(name="sts", actions=sts.ACTIONS)
SLB = Product(
    name="slb",
    actions={
        **slb_instances.ACTIONS,
        **slb_settings.ACTIONS,
        **slb_tagging.ACTIONS,
        **slb_groups.ACTIONS,
        **slb_listeners.ACTIONS,
        **slb_listener_queries.ACTIONS,
        **slb_http_listeners.ACTIONS,
        **slb_access.ACTIONS,
        **slb_certificates.ACTIONS,
    },
)
NLB = Product(
    name="nlb",
    actions={
        **nlb_instances.ACTIONS,
        **nlb_queries.ACTIONS,
        **nlb_security.ACTIONS,
        **nlb_jobs.ACTIONS,
        **nlb_groups.ACTIONS,
        **nlb_servers.ACTIONS,
        **nlb_listeners.ACTIONS,
        **nlb_tagging.ACTIONS,
    },
)
BY_VERSION: Mapping[str, Product] = {
    "2014-05-26": ECS,
    "2016-04-28": VPC,
    "2015-04-01": STS,
    "2014-05-15": SLB,
    "2022-04-30": NLB,
}


def find_action(version: str, action: str) -> tuple[Product, Action[Any]]:
    """Return the action and its product. Raises Refusal."""
    product = BY_VERSION.get(version)
    if product is None:
        message = f"The emulated cloud does not know the API version {version!r}."
        raise Refusal("InvalidVersion", message)
    if action not in product.actions:
        message = f"The emulated cloud does not know the action {action!r} of {product.name}."
        raise Refusal("InvalidAction.NotFound", message, status=404)
    return product, product.actions[action]
