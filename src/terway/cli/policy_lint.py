"""terway-cli policy lint: which policies do not say what they seem to?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import click

from terway.cli.exits import FOUND, OK
from terway.cli.policy_objects import Manifests
from terway.cli.policy_progress import telling
from terway.cli.policy_source import manifest_options, read_manifests
from terway.cli.table import counted, print_json, print_lines, wrapped
from terway.model.errors import UsageError
from terway.policy.asking.lint import Around, Finding, Level, in_order
from terway.policy.asking.lint_cluster import is_dns, misfitting, without_dns
from terway.policy.asking.lint_shadow import shadowed
from terway.policy.asking.lint_words import misleading
from terway.policy.asking.matrix_groups import world_of
from terway.policy.asking.matrix_ports import PortMatrix
from terway.policy.asking.representatives import holders_of
from terway.policy.asking.representatives_any import any_holders

_MOST_ANY = 5_000  # kinds of pods that are looked through in a few seconds


@click.command("lint")
@manifest_options
def command(
    *, files: tuple[str, ...], pod_cidrs: tuple[str, ...], as_json: bool, **where: str
) -> None:
    """Find policies that select nobody, add nothing, forget DNS, or are not what they look like.

    Each finding names the policy, the rule, and what to do. What is shadowed is found by comparing
    all that is allowed with and without it, and all that is reported as shadowed can be deleted
    together. Notes may be meant as they are.

    Exit code 0: no warning; 1: warnings.
    """
    manifests = read_manifests(files, pod_cidrs, **where)
    with telling(f"looking at {_policies(manifests)}"):
        found = tuple(in_order(_findings(manifests)))
    if as_json:
        print_json([_plain(one, manifests) for one in found])
    else:
        print_lines(lint_lines(found, manifests))
    raise SystemExit(FOUND if any(one.level is Level.WARNING for one in found) else OK)


def _findings(manifests: Manifests) -> Iterator[Finding]:
    policies, cluster = manifests.policies, manifests.cluster
    yield from misleading(policies)
    yield from _shadows(manifests)
    if manifests.has_pods:
        around = Around(
            services=manifests.services, has_real_addresses=manifests.has_real_addresses
        )
        holders = holders_of(cluster, policies)
        yield from misfitting(cluster, policies, holders, around)
        matrix = PortMatrix(policies)
        yield from without_dns(matrix, world_of(holders, (matrix,), tell=is_dns))


def _shadows(manifests: Manifests) -> Iterator[Finding]:
    """Yield what is shadowed in any cluster, or where that is too much to see, in this one."""
    matrix = PortMatrix(manifests.policies)
    try:
        holders = any_holders(manifests.policies, most=_MOST_ANY)
        world, scope = world_of(holders, (matrix,), is_any=True), "in any cluster"
    except UsageError:
        holders = holders_of(manifests.cluster, manifests.policies)
        world, scope = world_of(holders, (matrix,)), "in this cluster"
    yield from shadowed(matrix, world, scope=scope)


def lint_lines(found: Iterable[Finding], manifests: Manifests) -> Iterator[str]:
    """Yield the findings, with the file of each policy."""
    found = tuple(found)
    for one in found:
        yield from wrapped(f"{one.level.value:<7} {one.where}: {one.text} [{one.code}]")
        yield from wrapped(f"in      {manifests.origins.get(one.policy, '?')}", indent=8)
        yield from wrapped(f"remedy  {one.remedy}", indent=8)
    warnings = sum(one.level is Level.WARNING for one in found)
    notes = counted(len(found) - warnings, "note")
    yield f"{_policies(manifests)}: {counted(warnings, 'warning')}, {notes}"


def _policies(manifests: Manifests) -> str:
    return counted(len(manifests.policies), "policy", "policies")


def _plain(one: Finding, manifests: Manifests) -> dict[str, Any]:
    return {
        "code": one.code,
        "level": one.level.value,
        "policy": str(one.policy),
        "direction": one.direction.value if one.direction is not None else None,
        "rule": one.rule,
        "text": one.text,
        "remedy": one.remedy,
        "origin": manifests.origins.get(one.policy),
    }
