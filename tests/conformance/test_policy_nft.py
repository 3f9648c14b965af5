"""The compiled rules say what the public suites of the field say: every case, every probe.

The rules that answer are those that the kernel shows after it took them, in a network namespace
of the test's own; without root, those on paper.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from terway.linux.netns import fresh_netns
from terway.linux.nfnetlink.tables import NftSocket, open_nft_socket
from terway.model.nft import DeleteTable, Table, Transactions
from terway.policy.nft.answers import NftAnswers, on_paper
from terway.policy.nft.names import TABLE
from terway.policy.reading.cases import Step
from tests.support.policy_cases import case_files, read_cases


class _Kernel:
    """Makes transactions a table by way of the kernel."""

    def __init__(self, sock: NftSocket) -> None:
        self._sock = sock

    def enforce(self, transactions: Transactions) -> Table:
        self._sock.change(TABLE, transactions)
        table = self._sock.read(TABLE)
        self._sock.apply(TABLE, (DeleteTable(),))
        assert table == on_paper(transactions)
        return table


@pytest.fixture(scope="module")
def enforce() -> Iterator[object]:
    if os.geteuid() != 0:
        yield on_paper
        return
    with fresh_netns(), open_nft_socket() as sock:
        yield _Kernel(sock).enforce


@pytest.mark.parametrize("path", case_files())
def test_the_rules_answer_every_probe_as_expected(path, enforce, record_property):
    """bug classes 48 and 51: what the model says is in the kernel, too"""
    count, wrong = 0, []

    for case in read_cases(path):
        for step in case.steps:
            answers = NftAnswers(step.cluster, step.policies, enforce)
            count += sum(1 for _ in step.all_probes())
            wrong += [f"{case.name}, {step.label}: {line}" for line in _surprises(step, answers)]

    record_property("probes", count)
    assert count > 0
    assert wrong == [], f"{len(wrong)} of {count}"


def _surprises(step: Step, answers: NftAnswers) -> list[str]:
    return [
        f"{probe.flow} should be {probe.expected}"
        for probe in step.all_probes()
        if probe.flow is None or answers.allowed(probe.flow) is not (probe.expected == "allow")
    ]
