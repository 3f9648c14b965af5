"""What do policies say to each probe of a file of cases, fast?"""

from __future__ import annotations

import gc
import gzip
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import click
import msgspec

from terway.model.errors import UsageError
from terway.policy.bpf.answers import BpfAnswers
from terway.policy.compiling.decide import Decider
from terway.policy.nft.answers import NftAnswers
from terway.policy.reading.cases import Decide, Step, answer_case, parse_case

THROUGH = ("model", "nft", "ebpf")
# A case is many objects without cycles among them: looking for those often costs a tenth of all.
_NEW_OBJECTS = 200_000


def answer_file(name: str, through: str) -> int:
    """Print one line of JSON for each case of a file, in order; return how many were no case.

    The answer of such a line is its error, so that answers and cases keep in step. Raises
    UsageError when the file cannot be read.
    """
    decider = _deciders()[through]
    gc.set_threshold(_NEW_OBJECTS)
    refused = 0
    for number, line in enumerate(_lines(name), start=1):
        if not line.strip():
            continue
        try:
            case = parse_case(_decoded(line))
        except (ValueError, RecursionError, UsageError) as error:
            refused += 1
            answer: dict[str, object] = {"name": f"line {number}", "error": f"no case: {error}"}
            click.echo(f"{name}, line {number}: no case: {error}", err=True)
        else:
            answer = answer_case(case, decider)
        click.echo(json.dumps(answer))
    return refused


def _decoded(line: str) -> object:
    """Return what a line of JSON is. Raises ValueError."""
    try:
        return msgspec.json.decode(line)  # in half the time
    except msgspec.DecodeError:
        return json.loads(line)  # takes more, and says where it is none


def _deciders() -> dict[str, Callable[[Step], Decide]]:
    return {"model": _by_model, "nft": _by_rules, "ebpf": _by_maps}


def _by_model(step: Step) -> Decide:
    return Decider(step.cluster, step.policies).allowed


def _by_rules(step: Step) -> Decide:
    """Return what the rules of the nodes would do: compiled, printed, and run on paper."""
    return NftAnswers(step.cluster, step.policies).allowed


def _by_maps(step: Step) -> Decide:
    """Return what the policy maps of the nodes' data paths would say: compiled, written, asked."""
    return BpfAnswers(step.cluster, step.policies).allowed


def _lines(name: str) -> Iterator[str]:
    if name == "-":
        yield from sys.stdin
        return
    try:
        with _open(Path(name)) as file:
            yield from file
    except (OSError, EOFError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--batch {name}: {reason}; name a file of cases", field="--batch") from (
            error
        )


def _open(path: Path) -> IO[str]:
    return gzip.open(path, "rt") if path.suffix == ".gz" else path.open()
