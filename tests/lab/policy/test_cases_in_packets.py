"""Policy cases with real packets: ours by hand from the API's text, and a sample of the field's.

All that there are: `make conformance`. Among ours are bug class 48 (blocks that overlap, and their
exceptions) and bug class 49 (a service's address is judged as the pod behind it, by its own port).
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from terway.lab.policy.cases import read_case, read_file
from terway.lab.policy.placement import LARGE_TYPE
from terway.lab.policy.run import run_case
from terway.lab.policy.session import VIRTUAL_TYPE, CaseMode, open_stage
from terway.lab.policy.stage import Stage
from terway.lab.policy.tally import compare
from terway.lab.world.client import LabClient, start_lab
from terway.lab.world.plan import EXCLUSIVE_LABELS, LabPlan, NodePool
from tests.support.policy_cases import FOLDER

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

OWN = Path(__file__).parent.parent.parent / "data" / "policy_cases"
SAMPLE_SEED = 4
LARGEST = 16_000  # bytes of a case in the sample


def parameters() -> Sequence[object]:
    """Return cases: all of our own, and one of each file of the field's."""
    own = [case for path in sorted(OWN.glob("*.jsonl")) for case in read_file(path)]
    found = [pytest.param(case, id=case.case.name.replace(" ", "-")) for case in own]
    for path in sorted(FOLDER.glob("*/*.jsonl*")):
        case = read_case(chosen(path))
        name = f"{path.parent.name}/{path.name}/{case.case.name}"
        found.append(pytest.param(case, id=name.replace(" ", "-")))
    return found


def chosen(path: Path) -> Any:
    """Return a case that is not large, as JSON; the same one each time."""
    data = path.read_bytes()
    lines = (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()
    fitting = [one for one in lines if 2 < len(one) <= LARGEST]
    return json.loads(random.Random(SAMPLE_SEED).choice(fitting))


@dataclass(frozen=True, slots=True, kw_only=True)
class Modes:
    """A lab whose pods share ENIs on some nodes and have one each on others."""

    client: LabClient
    is_ebpf: bool

    def mode(self, is_exclusive: bool) -> CaseMode:
        if self.is_ebpf:
            return CaseMode.EXCLUSIVE_EBPF if is_exclusive else CaseMode.DATAPATHV2
        return CaseMode.EXCLUSIVE if is_exclusive else CaseMode.VETH


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=["veth", "datapathv2"], ids=["nft", "ebpf"]
)
async def modes(request: pytest.FixtureRequest) -> AsyncIterator[Modes]:
    pool = NodePool(name="eni", nodes=3, instance_type=LARGE_TYPE, labels=EXCLUSIVE_LABELS)
    cni = {VIRTUAL_TYPE: request.param}
    plan = LabPlan(name=f"p{uuid.uuid4().hex[:8]}", nodes=3, pools=(pool,), cni=cni)
    client = await asyncio.to_thread(start_lab, plan, lambda text: None, tied=True)
    try:
        yield Modes(client=client, is_ebpf=request.param == "datapathv2")
    finally:
        await asyncio.to_thread(client.down)


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=[False, True], ids=["shared", "exclusive"]
)
async def stage(modes: Modes, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with open_stage(
        modes.client, mode=modes.mode(request.param), family=None, progress=lambda text: None
    ) as stage:
        yield stage


@pytest.mark.parametrize("case", parameters())
async def test_packets_are_answered_as_the_case_expects(stage, case):
    answer = await run_case(stage, case)

    found = compare(case, answer)
    assert [str(one) for one in found.differences] == []
    assert all(is_known(one.answered) for one in found.errors), found.errors


def is_known(error: str) -> bool:
    """Return whether a lab cannot do it, and says why: the policy is none, or needs more."""
    return any(one in error for one in ("422 Invalid", "domain names", "--mode veth"))
