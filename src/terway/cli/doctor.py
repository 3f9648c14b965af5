"""terway-cli doctor: what is wrong with this node, and what mends it?"""

from __future__ import annotations

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
    if as_json:
        print_json({"done": done, "findings": findings})
    else:
        print_lines(doctor_lines(findings, done))
    is_ill = any(one.severity is not Severity.NOTE for one in findings)
    raise SystemExit(FOUND if is_ill else OK)


def examine(snapshot: Snapshot) -> tuple[Finding, ...]:
    """Return the findings, the worst first."""
    found = [one for check in _CHECKS for one in check(snapshot)]
    return tuple(sorted(found, key=lambda one: _ORDER.index(one.severity)))


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
