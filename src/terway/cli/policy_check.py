"""terway-cli policy check: are the policies as a file says they must be?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import yaml

from terway.cli.exits import FOUND, OK
from terway.cli.policy_diff import holder_plain
from terway.cli.policy_names import groups_text, packet_text, ports_text
from terway.cli.policy_progress import telling
from terway.cli.policy_source import manifest_options, read_manifests
from terway.cli.table import counted, print_json, print_lines, wrapped
from terway.model.errors import UsageError
from terway.policy.asking.check import Breach, Outcome, check
from terway.policy.asking.check_parse import NOT_REACH, REACH, Expectation, parse_expectations
from terway.policy.evaluate import evaluate
from terway.policy.policies import Policy
from terway.policy.words import describe

_SHOWN = 3  # breaches of one expectation


@click.command("check")
@click.argument("expectations", metavar="FILE...", nargs=-1, required=True)
@manifest_options
def command(
    *,
    expectations: tuple[str, ...],
    files: tuple[str, ...],
    pod_cidrs: tuple[str, ...],
    as_json: bool,
    **where: str,
) -> None:
    """Hold policies to files that say what must be reached, and what must not.

    \b
    must-reach:
      - from: shop/web-*
        to: {namespace: shop, podSelector: {matchLabels: {app: db}}}
        ports: [TCP/5432]
        why: orders are kept there
    must-not-reach:
      - {from: outside, to: shop/db-*}

    \b
    Ends:  NAMESPACE/POD, node:NAME (* is any text), ip:ADDRESS, ip:BLOCK,
           outside, or namespace, namespaceSelector, podSelector.
    Ports: TCP/80, UDP/53, TCP/8000-8100, TCP, ICMP, or all.

    Exit code 0: all as it must be; 1: not; 2: a file cannot be read.
    """
    wanted = [one for file in expectations for one in _read(file)]
    manifests = read_manifests(files, pod_cidrs, **where)
    with telling(f"checking {counted(len(wanted), 'expectation')}"):
        found = tuple(check(manifests.cluster, manifests.policies, wanted))
    if as_json:
        print_json([_plain(one, manifests.policies) for one in found])
    else:
        print_lines(check_lines(found, manifests.policies))
    raise SystemExit(OK if all(one.is_met for one in found) else FOUND)


def _read(file: str) -> tuple[Expectation, ...]:
    try:
        raw = yaml.safe_load(Path(file).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise UsageError(f"{file}: {reason}; name a file of expectations") from error
    try:
        found = parse_expectations(raw)
    except UsageError as error:
        raise UsageError(f"{file}: {error}", field=error.field) from error
    return tuple(replace(one, place=f"{file}: {one.place}") for one in found)


def check_lines(found: Iterable[Outcome], policies: tuple[Policy, ...]) -> Iterator[str]:
    """Yield each expectation, and of those that are not met why."""
    found = tuple(found)
    for one in found:
        word = "ok  " if one.is_met else "FAIL"
        field = REACH if one.expectation.must_reach else NOT_REACH
        on = ports_text(one.expectation.ports)
        yield from wrapped(f"{word} {field}: {one.expectation.text}, on {on}")
        if not one.is_met:
            yield from _why_not(one, policies)
    met = sum(one.is_met for one in found)
    yield f"{met} of {counted(len(found), 'expectation')} met"


def _why_not(one: Outcome, policies: tuple[Policy, ...]) -> Iterator[str]:
    yield from wrapped(f"at {one.expectation.place}", indent=5)
    if one.expectation.why:
        yield from wrapped(f"why: {one.expectation.why}", indent=5)
    if one.nobody:
        text = f"`{one.nobody}` means nobody: mend it, or write may-be-empty: true"
        yield from wrapped(text, indent=5)
    for breach in one.breaches[:_SHOWN]:
        ends = f"{groups_text([breach.sources])} to {groups_text([breach.destinations])}"
        yield from wrapped(f"{ends}: {ports_text(breach.ports)}", indent=5)
        yield from wrapped(f"e.g. {packet_text(breach.packet)}", indent=7)
        yield from wrapped(_reason(breach, policies), indent=7)
    if len(one.breaches) > _SHOWN:
        yield f"     and {len(one.breaches) - _SHOWN} more; --json has all"


def _reason(breach: Breach, policies: tuple[Policy, ...]) -> str:
    return describe(evaluate(breach.packet.cluster, policies, breach.packet.flow))


def _plain(one: Outcome, policies: tuple[Policy, ...]) -> dict[str, Any]:
    return {
        "expectation": one.expectation.text,
        "must_reach": one.expectation.must_reach,
        "at": one.expectation.place,
        "why": one.expectation.why,
        "met": one.is_met,
        "nobody": one.nobody,
        "breaches": [
            {
                "from": [holder_plain(end) for end in breach.sources.holders],
                "to": [holder_plain(end) for end in breach.destinations.holders],
                "ports": ports_text(breach.ports),
                "packet": packet_text(breach.packet),
                "reason": _reason(breach, policies),
            }
            for breach in one.breaches
        ],
    }
