"""Which two sets of policies does a command compare, and over which ends?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from terway.cli.place import place_options
from terway.cli.policy_objects import Manifests, manifests_of
from terway.cli.policy_progress import telling
from terway.cli.policy_read import Found, read_objects
from terway.cli.policy_source import json_option, parse_cidr, tell
from terway.cli.table import counted
from terway.policy.asking.difference import Packet
from terway.policy.asking.representatives import Holder, holders_of
from terway.policy.asking.representatives_any import any_holders
from terway.policy.cluster import Cluster
from terway.policy.evaluate import evaluate
from terway.policy.policies import Policy
from terway.policy.reading.parse import KINDS
from terway.policy.words import describe

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two sets of policies over the same ends; `is_any`: over those of any cluster."""

    before: tuple[Policy, ...]
    after: tuple[Policy, ...]
    cluster: Cluster
    holders: tuple[Holder, ...]
    is_any: bool

    @property
    def scope(self) -> str:
        """Return for which clusters the answer holds."""
        if self.is_any:
            return "in any cluster"
        return f"in this cluster of {counted(len(self.cluster.pods), 'pod')}"


def pair_options(command: F) -> F:
    """Add A and B, and the options that say in which cluster they are compared."""
    for option in (
        click.argument("after", metavar="B"),
        click.argument("before", metavar="A"),
        click.option("--any", "wants_any", is_flag=True, help="In any cluster, whatever its pods."),
        click.option("--pod-cidr", "pod_cidrs", multiple=True, help="For pods without address."),
        click.option(
            "-f",
            "--file",
            "files",
            multiple=True,
            help="Pods, namespaces, nodes beside those of A and B; @live: the cluster.",
        ),
    ):
        command = option(command)
    return json_option(place_options(command))


def read_pair(
    before: str,
    after: str,
    files: Iterable[str],
    *,
    pod_cidrs: Iterable[str] = (),
    wants_any: bool = False,
    **where: str,
) -> Compared:
    """Return both sets, and whom they are about: the pods of both, or any where there are none.

    Raises UsageError.
    """
    with telling("reading A and B"):
        return _read_pair(before, after, tuple(files), pod_cidrs, wants_any=wants_any, **where)


def _read_pair(
    before: str,
    after: str,
    files: tuple[str, ...],
    pod_cidrs: Iterable[str],
    *,
    wants_any: bool,
    **where: str,
) -> Compared:
    read = [read_objects([source], **where) for source in (before, after)]
    around = read_objects(files, **where) if files else ()
    cidrs = tuple(map(parse_cidr, pod_cidrs))
    sides = [manifests_of(found, pod_cidrs=cidrs) for found in read]
    tell(dict.fromkeys(note for side in sides for note in side.notes if "is closed" in note))
    world = manifests_of(_state((*around, *read[0], *read[1]), sides), pod_cidrs=cidrs)
    tell(world.notes)
    policies = tuple(side.policies for side in sides)
    is_any = wants_any or not world.has_pods
    both = (*policies[0], *policies[1])
    holders = (
        any_holders(both, namespaces=world.cluster.namespaces if _names(around) else None)
        if is_any
        else holders_of(world.cluster, both)
    )
    return Compared(
        before=policies[0],
        after=policies[1],
        cluster=world.cluster,
        holders=holders,
        is_any=is_any,
    )


def _names(around: Iterable[Found]) -> bool:
    return any(one.raw["kind"] == "Namespace" for one in around)


def _state(found: Iterable[Found], sides: Iterable[Manifests]) -> tuple[Found, ...]:
    """Return the objects but policies; of an object that is there twice, the last."""
    kept: dict[tuple[str, str, str], Found] = {}
    for one in found:
        metadata = one.raw.get("metadata") or {}
        key = (one.raw["kind"], str(metadata.get("namespace")), str(metadata.get("name")))
        if one.raw["kind"] not in KINDS:
            kept[key] = one
    return tuple(kept.values())


def reasons(compared: Compared, packet: Packet) -> tuple[str, str]:
    """Return what A and B say to a packet, in words."""
    before, after = (
        describe(evaluate(packet.cluster, policies, packet.flow))
        for policies in (compared.before, compared.after)
    )
    return before, after
