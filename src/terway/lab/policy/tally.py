"""How do the answers of a case compare with what it expects? Only for those who ask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from terway.lab.policy.cases import LabCase
from terway.policy.ends import name_end
from terway.policy.reading.cases import Probe, Step

_WORDS = {".": "allow", "X": "deny", "?": "error"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A probe that was not answered as expected."""

    state: str
    probe: str
    expected: str
    answered: str

    def __str__(self) -> str:
        label = f"[{self.state}] " if self.state else ""
        return f"{label}{self.probe}: {self.answered}, expected {self.expected}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What came of a case."""

    probes: int
    differences: tuple[Difference, ...]
    errors: tuple[Difference, ...]


def compare(case: LabCase, answer: Mapping[str, Any]) -> Comparison:
    """Return where the answer is not as expected; probes without an expectation count only."""
    differences, errors, probes = [], [], 0
    for state, said in zip(case.states, answer["states"], strict=True):
        for probe, answered in _pairs(state.step, said):
            probes += 1
            if answered.startswith("error"):
                errors.append(_difference(state.step, probe, answered))
            elif probe.expected and probe.expected != answered:
                differences.append(_difference(state.step, probe, answered))
    return Comparison(probes=probes, differences=tuple(differences), errors=tuple(errors))


def _pairs(step: Step, said: Mapping[str, Any]) -> Iterator[tuple[Probe, str]]:
    yield from zip(step.probes, said["verdicts"], strict=True)
    for matrix, rows in zip(step.matrices, said["matrices"], strict=True):
        for row, marks in zip(matrix.rows, rows, strict=True):
            for probe, mark in zip(row, marks, strict=True):
                if probe is not None:
                    yield probe, _WORDS[mark]


def _difference(step: Step, probe: Probe, answered: str) -> Difference:
    flow = probe.flow
    text = "a probe that could not be read"
    if flow is not None:
        ends = f"{name_end(flow.source)} -> {name_end(flow.destination)}"
        text = f"{ends} {flow.protocol.value} {flow.port}"
    return Difference(
        state=step.label, probe=text, expected=probe.expected or "nothing", answered=answered
    )
