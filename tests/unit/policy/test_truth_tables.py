"""The model says what the API's text says, row by row: see tests/data/policy.

bug class 48: blocks with host bits, exceptions, overlaps, pods inside; bug class 51: families.
"""

from __future__ import annotations

from typing import cast

import pytest

from terway.model.errors import UsageError
from terway.policy.compiling.decide import Decider
from terway.policy.evaluate import evaluate
from terway.policy.flow import Verdict
from terway.policy.nft.answers import NftAnswers
from terway.policy.reading.cases import Decide, Probe, Step, answer_step
from tests.support.truth_tables import Reason, Table, truth_tables

TABLES = [pytest.param(table, id=f"{table.file}: {table.name}") for table in truth_tables()]


@pytest.mark.parametrize("table", TABLES)
def test_every_row_is_true(table: Table):
    (step,) = table.case.steps
    assert not step.error

    said = [_said(step, probe, reason) for probe, reason in _rows(table, step)]

    assert said == [_expected(probe, reason) for probe, reason in _rows(table, step)], table.rows


@pytest.mark.parametrize("table", TABLES)
def test_the_compiled_classes_say_the_same(table: Table):
    (step,) = table.case.steps

    said = _answers(step, Decider(step.cluster, step.policies).allowed)

    assert said == [probe.expected for probe in step.probes], table.rows


@pytest.mark.parametrize("table", TABLES)
def test_the_rules_of_nftables_say_the_same(table: Table):
    (step,) = table.case.steps

    said = _answers(step, NftAnswers(step.cluster, step.policies).allowed)

    assert said == [probe.expected for probe in step.probes], table.rows


def _answers(step: Step, decide: Decide) -> list[str]:
    verdicts = cast("list[str]", answer_step(step, lambda step: decide)["verdicts"])
    return [verdict.partition(":")[0] for verdict in verdicts]


def test_there_are_tables_enough_to_trust_them():
    assert sum(len(table.rows) for table in truth_tables()) >= 150


def _rows(table: Table, step: Step) -> list[tuple[Probe, Reason]]:
    return list(zip(step.probes, table.reasons, strict=True))


def _expected(probe: Probe, reason: Reason) -> tuple[str, Reason]:
    return probe.expected, reason


def _said(step: Step, probe: Probe, asked: Reason) -> tuple[str, Reason]:
    """Return the verdict, and of the reason what the row asks for."""
    try:
        if probe.flow is None:
            return "error", Reason()
        verdict = evaluate(step.cluster, step.policies, probe.flow)
    except UsageError:
        return "error", Reason()
    return "allow" if verdict.is_allowed else "deny", _reason(verdict, asked)


def _reason(verdict: Verdict, asked: Reason) -> Reason:
    judgement = verdict.ingress if asked.side == "ingress" else verdict.egress
    if not asked.side or judgement is None:
        return Reason()
    named = asked.policy and judgement.policy is not None
    return Reason(
        side=asked.side,
        because=judgement.because.value,
        policy=judgement.policy.name if named and judgement.policy is not None else "",
        rule=None if asked.rule is None else judgement.rule,
    )
