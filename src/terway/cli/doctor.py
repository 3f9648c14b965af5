"""terway-cli doctor: what is wrong with this node, and what mends it?"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import click

from terway.cli.checks_around import check_cloud, check_config, check_host, check_kubernetes
from terway.cli.checks_ebpf import check_datapath
from terway.cli.checks_node import (
    check_host_files,
    check_kernel,
    check_mapping,
    check_prefixes,
    check_sources,
)
from terway.cli.checks_others import check_others
from terway.cli.checks_policy import check_policy
from terway.cli.checks_trunk import check_trunk
from terway.cli.collect import Wanted
from terway.cli.exits import FOUND, OK
from terway.cli.finding import Finding, Severity, command_of
from terway.cli.read_policy import read_policy
from terway.cli.snapshot import Snapshot
from terway.cli.source import source_options, take_snapshot
from terway.cli.table import print_json, print_lines, wrapped
from terway.linux.apply import apply
from terway.linux.session import open_session
from terway.model.errors import UsageError, VpcError

_CHECKS = (
    check_sources,
    check_config,
    check_kernel,
    check_mapping,
    check_prefixes,
    check_cloud,
    check_kubernetes,
    check_host,
    check_others,
    check_policy,
    check_datapath,
    check_trunk,
    check_host_files,
)
_MOMENTARY = (check_mapping, check_prefixes)  # while pods come and go all do not say the same
_SETTLES_S = 1.0  # beside the time that each look takes
_ORDER = (Severity.ERROR, Severity.WARNING, Severity.NOTE)


@click.command("doctor")
@click.option("--fix", "fixes", is_flag=True, help="Do what is safe, and say what was done.")
@source_options
def command(*, fixes: bool, bundle: str, as_json: bool, **where: str) -> None:
    """Find what is wrong with this node: each finding with its reason and what mends it.

    Looks at kernel, plugin, permissions, quotas, clocks, MTU, policies, foreign managers and
    leftovers. A
    scratch namespace is made and removed, and the cloud is asked whether terwayd's keys may do
    what it does, by calls that cannot do anything. Exit code 1 when there are errors or warnings.
    """
    if fixes and bundle:
        raise UsageError("--fix and --bundle: a bundle cannot be mended", field="--fix")
    wanted = Wanted(probes=True, read_policy=read_policy)
    snapshot = take_snapshot(bundle, wanted, **where)
    done: list[str] = []
    if fixes:
        done = mend(examine(snapshot))
        snapshot = take_snapshot(bundle, wanted, **where)
    findings = examine(snapshot)
    if not bundle and has_doubts(snapshot):
        time.sleep(_SETTLES_S)
        findings = found_twice(findings, snapshot, take_snapshot("", Wanted(), **where))
    if as_json:
        print_json({"done": done, "findings": findings})
    else:
        print_lines(doctor_lines(findings, done))
    is_ill = any(one.severity is not Severity.NOTE for one in findings)
    raise SystemExit(FOUND if is_ill else OK)


def examine(snapshot: Snapshot) -> tuple[Finding, ...]:
    """Return the findings, the worst first."""
    return _worst_first(one for check in _CHECKS for one in check(snapshot))


def has_doubts(snapshot: Snapshot) -> bool:
    """Return whether there are findings that a pod may make that just comes or goes."""
    return any(True for check in _MOMENTARY for _ in check(snapshot))


def found_twice(
    findings: Iterable[Finding], first: Snapshot, again: Snapshot
) -> tuple[Finding, ...]:
    """Return findings, those about addresses as they are `again` and for what they were at first.

    Cloud, journal, kernel and Kubernetes are not read in one moment, and learn of a pod one by one.
    """
    doubted = [one for check in _MOMENTARY for one in check(first)]
    causes = {one.why for one in doubted}
    lasting = [one for check in _MOMENTARY for one in check(again) if one.why in causes]
    sure = [one for one in findings if one not in doubted]
    return _worst_first([*sure, *lasting])


def _worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda one: _ORDER.index(one.severity)))


def mend(findings: Iterable[Finding]) -> list[str]:
    """Do the safe repairs, and return a line for each: done, or why not."""
    lines: list[str] = []
    for finding in findings:
        for operation in finding.fix:
            text = command_of(operation)
            try:
                with open_session() as session:
                    apply((operation,), session)
            except VpcError as error:
                lines.append(f"failed: {text}: {error}")
            else:
                lines.append(f"done:   {text}")
    return lines


def doctor_lines(findings: Iterable[Finding], done: Iterable[str] = ()) -> Iterator[str]:
    """Yield what was done, then the findings, then a sum."""
    for text in done:
        yield from wrapped(text)
    listed = list(findings)
    for one in listed:
        yield from wrapped(f"{one.severity.value:<8}{one.what}")
        yield from wrapped(f"why:  {one.why}", indent=8)
        safe = "  (--fix does it)" if one.fix else ""
        yield from wrapped(f"mend: {one.command}{safe}", indent=8)
    counts = [(kind.value, sum(one.severity is kind for one in listed)) for kind in _ORDER]
    words = (f"{count} {word}{'s' * (count != 1)}" for word, count in counts)
    yield ", ".join(words) if listed else "nothing found"
