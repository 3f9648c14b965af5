"""What does a case ask? Clusters, policies and probes in steps, as the conformance cases have them.

A case is an object of the form that the suites of the field were transcribed to: namespaces,
nodes, pods and policies, and probes or matrices, once or in steps. A step inherits from the one
before what it does not set. What is expected is kept for tests; nobody else looks at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from terway.model.errors import UsageError
from terway.policy.cluster import Cluster
from terway.policy.flow import Flow
from terway.policy.policies import Policy
from terway.policy.reading.cases_cluster import (
    read_answers,
    read_cluster,
    read_end,
    read_flow,
    read_question,
)
from terway.policy.reading.closing import parse_or_close
from terway.policy.reading.parse_fields import Table, refusal, table_of

ALLOWED, DENIED, NOT_PROBED, FAILED = ".", "X", "-", "?"  # the cells of a matrix
Decide = Callable[[Flow], bool]

_EXPECTED = {ALLOWED: "allow", DENIED: "deny"}
_CARRIED = ("namespaces", "nodes", "pods", "policies")


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One connection of a step, or why there is none; `expected` is "allow", "deny" or empty."""

    flow: Flow | None
    error: str = ""
    expected: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Connections between all pods of a list on one port: row is source, column destination."""

    rows: tuple[tuple[Probe | None, ...], ...]  # None: not probed


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One state of a cluster, and what is asked of it. With an `error` there is no such state."""

    label: str
    cluster: Cluster
    policies: tuple[Policy, ...]
    probes: tuple[Probe, ...]
    matrices: tuple[Matrix, ...]
    error: str = ""

    def flows(self) -> Iterator[Flow]:
        """Iterate over all connections that are asked for."""
        for probe in self.all_probes():
            if probe.flow is not None:
                yield probe.flow

    def all_probes(self) -> Iterator[Probe]:
        """Iterate over the probes, then over those of the matrices, row by row."""
        yield from self.probes
        for matrix in self.matrices:
            for row in matrix.rows:
                yield from (probe for probe in row if probe is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A case: its states in order."""

    name: str
    steps: tuple[Step, ...]


def parse_case(raw: object) -> Case:
    """Return the case. Raises UsageError when it has no such form at all.

    What is wrong with one probe, or with the manifests of one step, is an error there.
    """
    case = table_of(raw, "")
    stages = list(case.tables("steps")) if case.has("steps") else [case]
    carried = {field: case.values.get(field) for field in _CARRIED}
    steps = []
    for stage in stages:
        carried |= {field: stage.values[field] for field in _CARRIED if field in stage.values}
        steps.append(_read_step(stage, table_of(carried, stage.path)))
    return Case(name=case.text("name"), steps=tuple(steps))


def answer_case(case: Case, decider: Callable[[Step], Decide]) -> dict[str, object]:
    """Return the answers of a case, for JSON; `decider` makes what decides one step's flows."""
    return {"name": case.name, "states": [answer_step(step, decider) for step in case.steps]}


def answer_step(step: Step, decider: Callable[[Step], Decide]) -> dict[str, object]:
    """Return the answers of one step, for JSON. A UsageError is the answer of its probe."""
    try:
        decide = _refusing(step.error) if step.error else decider(step)
    except UsageError as error:
        decide = _refusing(str(error))
    return {
        "label": step.label,
        "verdicts": [_verdict(probe, decide) for probe in step.probes],
        "matrices": [
            ["".join(_cell(probe, decide) for probe in row) for row in matrix.rows]
            for matrix in step.matrices
        ],
    }


def _refusing(error: str) -> Decide:
    def refuse(flow: Flow) -> bool:
        raise UsageError(error)

    return refuse


def _verdict(probe: Probe, decide: Decide) -> str:
    if probe.flow is None:
        return f"error: {probe.error}"
    try:
        return "allow" if decide(probe.flow) else "deny"
    except UsageError as error:
        return f"error: {error}"


def _cell(probe: Probe | None, decide: Decide) -> str:
    if probe is None:
        return NOT_PROBED
    verdict = _verdict(probe, decide)
    return {"allow": ALLOWED, "deny": DENIED}.get(verdict, FAILED)


def _read_step(stage: Table, state: Table) -> Step:
    cluster, error = Cluster(), ""
    policies: tuple[Policy, ...] = ()
    try:
        cluster = read_cluster(state)
        answers = read_answers(stage)
        policies = tuple(parse_or_close(raw, answers=answers) for _, raw in state.items("policies"))
    except UsageError as refused:
        error = str(refused)
    return Step(
        label=stage.text("label"),
        cluster=cluster,
        policies=policies,
        probes=tuple(_read_probe(entry) for entry in stage.tables("probes")),
        matrices=tuple(_read_matrix(entry, cluster) for entry in stage.tables("matrices")),
        error=error,
    )


def _read_probe(table: Table) -> Probe:
    expected = str(table.values.get("expect") or "")
    try:
        return Probe(flow=read_flow(table), expected=expected)
    except UsageError as error:
        return Probe(flow=None, error=str(error), expected=expected)


def _read_matrix(table: Table, cluster: Cluster) -> Matrix:
    """Return the connections of a matrix. Without rows all but the diagonal is asked for.

    Without pods they are those of the cluster, in its order. Raises UsageError where the rows do
    not fit the pods.
    """
    pods = table.texts("pods") or tuple(map(str, cluster.pods))
    marks = table.texts("rows") or _all_but_the_diagonal(len(pods))
    if len(marks) != len(pods) or any(len(row) != len(pods) for row in marks):
        raise refusal(table.at("rows"), list(marks), f"write {len(pods)} rows of {len(pods)} marks")
    read = _cells_of(table, pods)
    return Matrix(
        rows=tuple(
            tuple(
                None if mark == NOT_PROBED else read(source, destination, _EXPECTED.get(mark, ""))
                for destination, mark in enumerate(row)
            )
            for source, row in enumerate(marks)
        )
    )


def _all_but_the_diagonal(size: int) -> tuple[str, ...]:
    return tuple(ALLOWED * row + NOT_PROBED + ALLOWED * (size - row - 1) for row in range(size))


def _cells_of(table: Table, pods: tuple[str, ...]) -> Callable[[int, int, str], Probe]:
    """Return what makes the probe of a cell. There may be millions: all they share is read once."""
    try:
        ends = [read_end(pod, f"{table.at('pods')}[{at}]") for at, pod in enumerate(pods)]
        question = read_question(table)
    except UsageError as error:
        failed = Probe(flow=None, error=str(error))
        return lambda source, destination, expected: replace(failed, expected=expected)
    return lambda source, destination, expected: Probe(
        flow=question.about(ends[source], ends[destination]), expected=expected
    )
