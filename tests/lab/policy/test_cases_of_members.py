"""Policy cases in pods that are members of a trunk, made by the control plane: a sample.

All of them: terway-lab policy conformance --mode trunk, and --mode trunk-ebpf.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from terway.kube.client import KubeClient
from terway.kube.connection import Connection
from terway.kube.crds import POD_ENIS
from terway.lab.policy.cases import LabCase, read_case, read_file
from terway.lab.policy.run import run_case
from terway.lab.policy.session import CaseMode, open_stage, plan_for
from terway.lab.policy.tally import compare
from terway.lab.world.client import LabClient, start_lab
from tests.lab.policy.test_cases_in_packets import OWN, SAMPLE_SEED, chosen, is_known
from tests.support.policy_cases import FOLDER

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

OWN_CASES, FIELD_CASES = 3, 2


def sample(mode: CaseMode) -> list[LabCase]:
    """Return some cases, the same ones each time and others for each mode."""
    chance = random.Random(f"{SAMPLE_SEED} {mode.value}")
    own = [case for path in sorted(OWN.glob("*.jsonl")) for case in read_file(path)]
    files = sorted(FOLDER.glob("*/*.jsonl*"))
    field = chance.sample(files, min(FIELD_CASES, len(files)))
    return [*chance.sample(own, OWN_CASES), *(read_case(chosen(path)) for path in field)]


@pytest_asyncio.fixture(loop_scope="module")
async def client(mode: CaseMode) -> AsyncIterator[LabClient]:
    plan = replace(plan_for(f"p{uuid.uuid4().hex[:8]}", mode), nodes=2)
    client = await asyncio.to_thread(start_lab, plan, lambda text: None, tied=True)
    try:
        yield client
    finally:
        await asyncio.to_thread(client.down)


@pytest.mark.parametrize("mode", [CaseMode.TRUNK, CaseMode.TRUNK_EBPF], ids=lambda one: one.value)
async def test_members_of_a_trunk_are_answered_as_the_cases_expect(mode, client):
    found = {}
    async with open_stage(client, mode=mode, family=None, progress=print) as stage:
        for case in sample(mode):
            found[case.case.name] = compare(case, await run_case(stage, case))

    assert [str(one) for case in found.values() for one in case.differences] == []
    errors = [one for case in found.values() for one in case.errors]
    assert all(is_known(one.answered) for one in errors), errors
    async with KubeClient(Connection(server=f"unix://{client.paths.api_socket}")) as kube:
        bound = [one for one in (await kube.list(POD_ENIS)).items if one.status.phase == "Bind"]
    kinds = {info.type for one in bound for info in one.status.eni_infos.values()}
    assert kinds == {"Member"}
