"""`terway-lab policy run` as a person calls it: one at a time in a lab, so with a lab to itself."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from terway.lab.policy.session import VIRTUAL_TYPE
from terway.lab.world.client import start_lab
from terway.lab.world.plan import LabPlan
from terway.policy.evaluate import evaluate
from terway.policy.reading.cases import Decide, Step, answer_case, parse_case

pytestmark = pytest.mark.lab

OWN = Path(__file__).parent.parent.parent / "data" / "policy_cases"


@pytest.mark.parametrize("mode", ["veth", "datapathv2"])
async def test_the_command_answers_in_the_form_of_the_model(mode, tmp_path):
    own = next(iter(sorted(OWN.glob("*.jsonl")))).read_text().splitlines()[0]
    path = tmp_path / "case.json"
    path.write_text(own)
    plan = LabPlan(name=f"p{uuid.uuid4().hex[:8]}", nodes=3, cni={VIRTUAL_TYPE: mode})
    client = await asyncio.to_thread(start_lab, plan, lambda text: None, tied=True)
    words = ("policy", "run", "--name", plan.name, "--mode", mode, "--json", "--case", str(path))

    try:
        command = Path(sys.executable).parent / "terway-lab"
        process = await asyncio.create_subprocess_exec(command, *words, stdout=PIPE, stderr=PIPE)
        said, wrong = await process.communicate()
    finally:
        await asyncio.to_thread(client.down)
    assert said, wrong.decode()

    case = parse_case(json.loads(own))

    def decider(step: Step) -> Decide:
        return lambda flow: evaluate(step.cluster, step.policies, flow).is_allowed

    assert json.loads(said) == answer_case(case, decider)
    assert process.returncode == 0
