"""The fast decider says what the public suites of the field say: every case, every probe."""

from __future__ import annotations

import pytest

from terway.policy.compiling.decide import Decider
from terway.policy.reading.cases import Step
from tests.support.policy_cases import case_files, read_cases


@pytest.mark.parametrize("path", case_files())
def test_the_decider_answers_every_probe_as_expected(path, record_property):
    """bug classes 48 and 51: blocks, exceptions, overlaps, and both families"""
    count, wrong = 0, []

    for case in read_cases(path):
        for step in case.steps:
            count += sum(1 for _ in step.all_probes())
            wrong += [f"{case.name}, {step.label}: {line}" for line in _surprises(step)]

    record_property("probes", count)
    assert count > 0
    assert wrong == [], f"{len(wrong)} of {count}"


def _surprises(step: Step) -> list[str]:
    decider = Decider(step.cluster, step.policies)
    return [
        f"{probe.flow} should be {probe.expected}"
        for probe in step.all_probes()
        if probe.flow is None or decider.allowed(probe.flow) is not (probe.expected == "allow")
    ]
