"""What can be asked of terway-lab about policy on the command line?"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click

from terway.lab.policy.cases import LabCase, read_file
from terway.lab.policy.run import run_case
from terway.lab.policy.session import CaseMode, find_lab, open_stage
from terway.lab.policy.tally import Comparison, compare
from terway.model.address import Family
from terway.model.errors import UsageError

Show = Callable[[dict[str, object], Comparison, float], None]

_SUITE = "../shared/conformance/netpol"
_NAME = click.option(
    "--name", default="lab", envvar="TERWAY_LAB", show_default=True, help="Which lab."
)
_MODE = click.option(
    "--mode",
    type=click.Choice([one.value for one in CaseMode]),
    default=CaseMode.VETH.value,
    show_default=True,
    help="Pods that share ENIs, have one each, or are members of a trunk; by nftables or eBPF.",
)
_FAMILY = click.option(
    "--family", type=click.Choice(["4", "6"]), help="For probes that do not say which."
)
_INDENT = " " * 8
_SHOWN = 10  # differences of a case


@click.group()
def policy() -> None:
    """Cases of NetworkPolicy and ClusterNetworkPolicy, answered by real packets.

    The form of cases is that of `terway-cli policy eval --batch`, which answers from the model, or
    with --through nft from the rules: three answers to the same question.
    """


@policy.command()
@_NAME
@_MODE
@_FAMILY
@click.option(
    "--case",
    "path",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A case in JSON, or one a line; .gz is unpacked.",
)
@click.option("--only", default="", help="Cases whose name contains this.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON a case, for programs.")
def run(  # noqa: PLR0917 - click passes them by name
    name: str, mode: str, family: str | None, path: Path, only: str, as_json: bool
) -> None:
    """Make the pods and policies of cases in a lab, and try each connection.

    terway-lab policy run --case cases.jsonl --mode exclusive --family 6

    Uses a running lab, or brings one up that stays. A policy is given time to be in force on every
    node before anybody connects. Where a case says what it expects, differences are shown and the
    exit status is 1; with --json nobody looks at that.
    """
    cases = [one for one in read_file(path) if only in one.case.name]
    if not cases:
        raise UsageError(f"{path}: no case has {only!r} in its name", field="--only")
    show = _as_json if as_json else _as_text
    results = asyncio.run(_run_all(name, mode, family, cases, show))
    if not as_json and any(one.differences for one in results):
        sys.exit(1)


@policy.command()
@_NAME
@_MODE
@_FAMILY
@click.option(
    "--folder",
    "folders",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=(os.environ.get("CONFORMANCE_DIR") or _SUITE,),
    show_default=True,
    help="Cases: all .jsonl and .jsonl.gz below it; may be given again.",
)
@click.option("--sample", type=click.IntRange(1), help="Only so many cases of each file.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which they are.")
def conformance(  # noqa: PLR0917 - click passes them by name
    name: str,
    mode: str,
    family: str | None,
    folders: tuple[Path, ...],
    sample: int | None,
    seed: int,
) -> None:
    """Run folders of cases in packets, and sum up.

    terway-lab policy conformance --folder cases/ --sample 20

    Each case is as by `policy run`; exit status 1 when a connection was not as a case expects. All
    of them take minutes: --sample takes some of each file, the same ones for the same --seed.
    """
    total: list[Comparison] = []
    for path in (path for folder in folders for path in _files(folder)):
        click.echo(str(path))
        cases = list(read_file(path))
        if sample is not None and sample < len(cases):
            cases = random.Random(f"{seed} {path.name}").sample(cases, sample)
        total += asyncio.run(_run_all(name, mode, family, cases, _as_text))
    _sum_up(total)
    if any(one.differences for one in total):
        sys.exit(1)


def _files(folder: Path) -> Iterator[Path]:
    found = [*folder.rglob("*.jsonl"), *folder.rglob("*.jsonl.gz")]
    if not found:
        raise UsageError(f"{folder}: no cases (.jsonl, .jsonl.gz) are below it", field="--folder")
    yield from sorted(found)


async def _run_all(
    name: str, mode: str, family: str | None, cases: Iterable[LabCase], show: Show
) -> list[Comparison]:
    how = CaseMode(mode)
    client = find_lab(name, mode=how, progress=_progress)
    wanted = Family(int(family)) if family else None
    results = []
    async with open_stage(client, mode=how, family=wanted, progress=_progress) as stage:
        for case in cases:
            began = time.monotonic()
            answer = await run_case(stage, case)
            results.append(compare(case, answer))
            show(answer, results[-1], time.monotonic() - began)
    return results


def _progress(text: str) -> None:
    click.echo(f"  {text}", err=True)


def _as_json(answer: dict[str, object], comparison: Comparison, took_s: float) -> None:
    click.echo(json.dumps(answer))


def _as_text(answer: dict[str, object], comparison: Comparison, took_s: float) -> None:
    troubles = [*comparison.differences, *comparison.errors]
    mark = "DIFFERS" if comparison.differences else "errors" if comparison.errors else "ok"
    head = f"{mark:7} {comparison.probes:6} probes {took_s:6.1f} s  {answer['name']}"
    click.echo(head if len(head) <= 80 else f"{head[:79]}…")
    for one in troubles[:_SHOWN]:
        click.echo(textwrap.fill(str(one), 80, initial_indent=_INDENT, subsequent_indent=_INDENT))
    if len(troubles) > _SHOWN:
        click.echo(f"        … and {len(troubles) - _SHOWN} more")


def _sum_up(total: list[Comparison]) -> None:
    probes = sum(one.probes for one in total)
    wrong = sum(len(one.differences) for one in total)
    errors = sum(len(one.errors) for one in total)
    failed = sum(bool(one.differences) for one in total)
    click.echo(
        f"{len(total)} cases, {probes} probes: {wrong} not as expected in {failed} cases, "
        f"{errors} could not be tried"
    )
