"""A figure says what it is compared with, and whether that is good enough."""

from __future__ import annotations

import json

import pytest
from bench.record import Bound, Record, Target, absolute, encode, table, write

AT_MOST_A_THIRD = Target(bound=Bound.AT_MOST, limit=0.3)


def record(figure="cni.add.p50@32", *, value=2.0, reference_value=10.0, target=AT_MOST_A_THIRD):
    return Record(
        figure=figure,
        subject="terway",
        value=value,
        reference="ptp",
        reference_value=reference_value,
        unit="pods/s",
        runs=5,
        target=target,
    )


@pytest.mark.parametrize(
    ("bound", "limit", "value", "met"),
    [
        (Bound.AT_MOST, 0.3, 3.0, True),
        (Bound.AT_MOST, 0.3, 3.1, False),
        (Bound.AT_LEAST, 4.0, 40.0, True),
        (Bound.AT_LEAST, 4.0, 39.0, False),
    ],
)
def test_a_target_of_the_ratio_is_met_up_to_and_with_its_limit(bound, limit, value, met):
    target = Target(bound=bound, limit=limit)

    assert record(value=value, target=target).is_met is met


def test_an_absolute_figure_is_compared_with_its_limit():
    limit = Target(bound=Bound.AT_MOST, limit=45.0, of_ratio=False)

    measured = absolute(
        "agent.rss_mb@50", subject="terwayd", value=36.0, target=limit, unit="MB", runs=3
    )

    assert measured.is_met is True
    assert measured.ratio == pytest.approx(0.8)
    assert measured.reference == "the limit, <= 45 MB"


def test_the_results_have_the_fields_that_the_issue_names():
    fields = {"figure", "subject", "value", "reference", "reference_value", "ratio", "unit", "runs"}

    assert fields <= encode(record()).keys()


def test_a_figure_that_was_not_measured_keeps_its_last_record(tmp_path):
    results = tmp_path / "latest.json"
    write(results, [record("a", value=1.0), record("b", value=1.0)])

    write(results, [record("b", value=2.0)])

    kept = {entry["figure"]: entry["value"] for entry in json.loads(results.read_text())}
    assert kept == {"a": 1.0, "b": 2.0}


def test_the_table_fits_a_terminal_of_80_columns():
    wide = record("net.throughput.veth", value=123456.0, reference_value=98.7654321)

    assert max(map(len, table([record(), wide]).splitlines())) <= 80
