"""Policy cases with real packets, in pods that are IPvlan children: a few of them, by seed.

All of them, where the kernel has ipvlan: terway-lab policy conformance --mode ipvlan.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from terway.lab.policy.cases import LabCase, read_file
from terway.lab.policy.placement import Need, place
from terway.lab.policy.run import run_case
from terway.lab.policy.session import CaseMode
from terway.lab.policy.tally import compare
from tests.lab.ipvlan.site import FAR, HERE, MARKS
from tests.support.case_world import stage_in

pytestmark = [*MARKS, pytest.mark.guest]

OWN = Path(__file__).parent.parent.parent / "data" / "policy_cases"
SEED, CASES = 4, 3


def fits(case: LabCase) -> bool:
    """Return whether the two nodes that there are will do."""
    shown = [(state.step.cluster, tuple(state.step.flows())) for state in case.states]
    placed = (place(cluster, flows, (HERE, FAR), per_node=9) for cluster, flows in shown)
    return not any(isinstance(one, Need) for one in placed)


async def test_children_of_an_eni_are_answered_as_the_cases_expect(lab):
    cases = [case for path in sorted(OWN.glob("*.jsonl")) for case in read_file(path) if fits(case)]
    chosen = random.Random(SEED).sample(cases, CASES)

    async with stage_in(lab, CaseMode.IPVLAN) as stage:
        found = [compare(case, await run_case(stage, case)) for case in chosen]

    assert [str(one) for case in found for one in (*case.differences, *case.errors)] == []
    assert all(one.probes for one in found)
