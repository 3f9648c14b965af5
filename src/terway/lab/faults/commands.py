"""What can be asked of terway-lab about faults on the command line?"""

from __future__ import annotations

import itertools
import json
import secrets
import sys
from pathlib import Path
from typing import Any

import click

from terway.lab.faults.batch import Tally, Verdict, run_many, run_safely, shrink_seed
from terway.lab.faults.generate import generate
from terway.lab.faults.run import Outcome
from terway.lab.faults.schedule import Schedule, dump_schedule, parse_schedule

_WIDTH = 78
_JSON = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.group()
def faults() -> None:
    """Histories of pods and of what goes wrong, as data: run, replayed, shrunk."""


@faults.command()
@click.option("--seed", type=int, help="Only the history of this seed.")
@click.option("--file", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--count", type=click.IntRange(1), default=1000, show_default=True, help="How many fresh seeds."
)
@click.option("--first", type=click.IntRange(0), help="The first of them; by chance, if not given.")
@click.option(
    "--minutes",
    type=click.FloatRange(0),
    default=0.0,
    help="Begin no more after that; 0: all of --count.",
)
@click.option("--jobs", type=click.IntRange(0), default=0, help="Processes; 0: one a processor.")
@click.option("--save", type=click.Path(file_okay=False, path_type=Path), default=Path("."))
@_JSON
def run(  # noqa: PLR0917 - click passes them by name
    seed: int | None,
    path: Path | None,
    count: int,
    first: int | None,
    minutes: float,
    jobs: int,
    save: Path,
    as_json: bool,
) -> None:
    """Run histories; a failing one is shrunk and saved as a file that replays it."""
    if path is not None:
        _finish_one(run_safely(_read(path)), as_json=as_json)
    if seed is not None:
        _finish_one(run_safely(generate(seed)), as_json=as_json, seed=seed, save=save)
    begin = secrets.randbelow(10**9) if first is None else first
    seeds = itertools.count(begin) if minutes else range(begin, begin + count)
    tally = run_many(seeds, jobs=jobs, minutes=minutes, heard=_progress(as_json))
    saved = [_save(one, save) for one in tally.failed[:5]]
    _report(tally, begin, saved, as_json=as_json)
    sys.exit(1 if tally.failed else 0)


@faults.command()
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--verbose", "-v", is_flag=True, help="Everything that happens, line by line.")
@_JSON
def replay(path: Path, verbose: bool, as_json: bool) -> None:
    """Run the history in a file again."""
    outcome = run_safely(_read(path))
    if verbose:
        for line in outcome.lines:
            click.echo(line)
    _finish_one(outcome, as_json=as_json)


@faults.command()
@click.argument("path", metavar="FILE|SEED")
def show(path: str) -> None:
    """Print a schedule: that of a file, or the one that a seed stands for."""
    schedule = generate(int(path)) if path.isdecimal() else _read(Path(path))
    click.echo(dump_schedule(schedule), nl=False)


@faults.command("inject")
@click.option("--name", default="lab", envvar="TERWAY_LAB", show_default=True, help="Which lab.")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def inject_command(name: str, path: Path) -> None:
    """Let a schedule happen to a running lab, in real time and with real packets."""
    from terway.lab.world.client import LabClient

    schedule = _read(path)
    click.echo(f"{len(schedule.events)} events in {schedule.length_s:.0f} s", err=True)
    answer = LabClient(name).request("POST", "/faults", dump_schedule(schedule))
    for one in answer["left_out"]:
        click.echo(f"cannot happen in a lab: {one}")


def _read(path: Path) -> Schedule:
    return parse_schedule(path.read_text())


def _progress(quiet: bool) -> Any:
    def heard(tally: Tally) -> None:
        if not quiet and tally.histories % 100 == 0:
            text = f"{tally.histories} histories, {tally.per_min:.0f} a minute"
            click.echo(f"{text}, {len(tally.failed)} failed", err=True)

    return heard


def _save(verdict: Verdict, folder: Path) -> Path:
    click.echo(f"seed {verdict.seed} failed; looking for the shortest schedule", err=True)
    return _write(shrink_seed(verdict.seed), folder, verdict.seed)


def _write(schedule: Schedule, folder: Path, seed: int) -> Path:
    failures = run_safely(schedule).failures
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"faults-{seed}.yaml"
    head = "".join(f"# {' '.join(one.split())[:500]}\n" for one in failures)
    path.write_text(f"# terway-lab faults replay {path}\n{head}{dump_schedule(schedule)}")
    return path


def _report(tally: Tally, begin: int, saved: list[Path], *, as_json: bool) -> None:
    facts = {
        "histories": tally.histories,
        "per_min": round(tally.per_min, 1),
        "virtual_hours": round(tally.virtual_s / 3600.0, 1),
        "first_seed": begin,
        "failed": {str(one.seed): list(one.failures) for one in tally.failed},
        "files": [str(one) for one in saved],
    }
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    click.echo(
        f"{tally.histories} histories, {facts['virtual_hours']} virtual hours, "
        f"{tally.per_min:.0f} a minute, {len(tally.failed)} failed"
    )
    for verdict in tally.failed:
        click.echo(f"seed {verdict.seed}:")
        _say(verdict.failures)
    for path in saved:
        click.echo(f"  terway-lab faults replay {path}")


def _finish_one(
    outcome: Outcome, *, as_json: bool, seed: int | None = None, save: Path | None = None
) -> None:
    """Say how one history ended, shrink it if it failed, and exit."""
    if as_json:
        facts = {"failures": outcome.failures, "digest": outcome.digest, "alarms": outcome.alarms}
        click.echo(json.dumps(facts, indent=2))
    elif outcome.is_ok:
        click.echo(f"all is in order after {outcome.virtual_s:.0f} virtual seconds")
        for one in outcome.alarms[:5]:
            click.echo(f"  terwayd said: {one[: _WIDTH - 16]}")
    else:
        click.echo(f"{len(outcome.failures)} things are not in order:")
        _say(outcome.failures)
    if outcome.failures and seed is not None and save is not None:
        click.echo(f"terway-lab faults replay {_write(shrink_seed(seed), save, seed)}")
    sys.exit(0 if outcome.is_ok else 1)


def _say(failures: tuple[str, ...]) -> None:
    for one in failures[:5]:
        click.echo(click.wrap_text(one[:600], _WIDTH, "  ", "    "))
