"""The model says what the public suites of the field say: every case, every probe."""

from __future__ import annotations

import json

import pytest

from terway.policy.evaluate import evaluate
from terway.policy.reading.cases import Step
from terway.policy.reading.parse_fields import table_of
from terway.policy.reading.parse_selector import parse_selector
from tests.support.policy_cases import FOLDER, case_files, read_cases

SELECTORS = FOLDER / "kube-network-policies" / "selectors.json"


@pytest.mark.parametrize("path", case_files())
def test_the_model_answers_every_probe_as_expected(path, record_property):
    """bug classes 48 and 51: blocks, exceptions, overlaps, and both families"""
    count, wrong = 0, []

    for case in read_cases(path):
        for step in case.steps:
            assert not step.error, f"{case.name}, {step.label}: {step.error}"
            count += sum(1 for _ in step.all_probes())
            wrong += [f"{case.name}, {step.label}: {line}" for line in _surprises(step)]

    record_property("probes", count)
    assert count > 0
    assert wrong == [], f"{len(wrong)} of {count}"


def _surprises(step: Step) -> list[str]:
    return [
        f"{probe.flow} should be {probe.expected}"
        for probe in step.all_probes()
        if probe.flow is None
        or evaluate(step.cluster, step.policies, probe.flow).is_allowed
        is not (probe.expected == "allow")
    ]


@pytest.mark.skipif(not SELECTORS.exists(), reason=f"no conformance cases in {FOLDER}")
def test_selectors_match_as_expected():
    cases = json.loads(SELECTORS.read_text())["selectors"]

    said = {
        case["name"]: parse_selector(table_of(case["selector"], "")).matches(case["labels"] or {})
        for case in cases
    }

    assert said == {case["name"]: case["match"] for case in cases}
