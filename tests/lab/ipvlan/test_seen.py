"""What terwayd's tools see of pods that are IPvlan children: no fault where there is none."""

from __future__ import annotations

import pytest

from terway.model.address import Family
from tests.lab.ipvlan.site import MARKS
from tests.lab.test_cli import run, why

pytestmark = [*MARKS, pytest.mark.guest]


@pytest.mark.parametrize(("end", "family"), [("near", Family.V6), ("far", Family.V4)])
async def test_a_packet_that_arrives_is_walked_through_the_programs_inside(lab, pods, end, family):
    asked = f"{pods[end].name}:7000"

    hops = await why(lab, pods["a"].name, asked, "--family", str(family.value))

    assert [one["text"] for one in hops if one["state"] == "FAIL"] == []
    assert any(one["where"] == "data path" and "(ipvlan)" in one["text"] for one in hops)


async def test_doctor_finds_nothing_wrong_with_the_data_path_and_its_pods(lab, pods):
    found = (await run(lab, "doctor", "--json")).value["findings"]

    about = ("endpoint", "program", "data path", "planned", "eniip_virtual_type")
    assert [one["what"] for one in found if any(word in one["what"] for word in about)] == []


async def test_losses_of_pods_are_read_by_name(lab, pods):
    drops = (await run(lab, "drops", "--json")).value

    assert all(one["pod"] != "(gone)" for one in drops)
