"""The policy maps of eBPF say what the public suites of the field say: every case, every probe.

On paper all of them; of each file some by the programs themselves, packet by packet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

import pytest

from terway.linux.ebpf.policy_maps import PolicyMaps
from terway.model.policy_maps import Content
from terway.policy.bpf.answers import Asked, BpfAnswers, on_paper
from terway.policy.reading.cases import Step
from tests.support.datapath_program import DataPathBench, open_datapath_program
from tests.support.policy_cases import case_files, read_cases
from tests.support.policy_program import ProgramNode

SAMPLE_SEED, SAMPLED = 5, 10
MOST_PROBES = 400  # of a case in the sample


@pytest.fixture(scope="module")
def bench() -> Iterator[DataPathBench]:
    sizes = {"policy_hosts": 16384, "policy_nets": 16384, "policy_verdicts": 65536}
    with open_datapath_program(max_entries=sizes) as found:
        yield found


@pytest.mark.parametrize("path", case_files())
def test_the_maps_answer_every_probe_as_expected(path, record_property):
    """bug classes 48 and 51: what the model says is in the maps, too"""
    count, wrong = 0, []

    for case in read_cases(path):
        for step in case.steps:
            count += sum(1 for _ in step.all_probes())
            wrong += [f"{case.name}, {step.label}: {one}" for one in _surprises(step, on_paper)]

    record_property("probes", count)
    assert count > 0
    assert wrong == [], f"{len(wrong)} of {count}"


@pytest.mark.root
@pytest.mark.parametrize("path", case_files())
def test_the_programs_answer_a_sample_of_each_file_as_expected(path, bench):
    maps = PolicyMaps(bench.maps)
    small = [case for case in read_cases(path) if _probes(case.steps) <= MOST_PROBES]
    sample = Random(SAMPLE_SEED).sample(small, min(SAMPLED, len(small)))

    wrong = [
        f"{case.name}, {step.label}: {one}"
        for case in sample
        for step in case.steps
        for one in _surprises(step, lambda content: ProgramNode(bench, maps, content))
    ]

    assert wrong == []


def _probes(steps: tuple[Step, ...]) -> int:
    return sum(1 for step in steps for _ in step.all_probes())


def _surprises(step: Step, enforce: Callable[[Content], Asked]) -> list[str]:
    answers = BpfAnswers(step.cluster, step.policies, enforce)
    return [
        f"{probe.flow} should be {probe.expected}"
        for probe in step.all_probes()
        if probe.flow is None or answers.allowed(probe.flow) is not (probe.expected == "allow")
    ]
