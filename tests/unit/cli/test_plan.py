"""plan says what stands against a network, proposes one, and creates it by the cloud's own API."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import contextmanager

import pytest
import yaml
from click.testing import CliRunner

from terway.cli.account import own_keys
from terway.cli.app import cli
from terway.lab.cloud.openapi_http import create_openapi_app
from terway.model.ids import VpcId
from tests.support.cloud_world import REGION, make_world, serving

GOOD = {
    "name": "prod",
    "region": REGION,
    "vpc": {"cidr": "10.20.0.0/16"},
    "vswitches": [
        {"name": "nodes", "zone": "cn-hangzhou-i", "cidr": "10.20.0.0/24", "for": "nodes"},
        {"name": "pods", "zone": "cn-hangzhou-i", "cidr": "10.20.32.0/19", "for": "pods"},
    ],
    "service_cidr": ["172.21.0.0/20"],
    "nodes": {"count": 10, "type": "ecs.g7.xlarge", "pods_per_node": 30},
    "options": {"network_policy": True},
}


def run(*args, env=None):
    return CliRunner().invoke(cli, ["plan", *map(str, args)], env=env)


@pytest.fixture
def file(tmp_path):
    def write(**changes):
        path = tmp_path / "plan.yaml"
        path.write_text(yaml.safe_dump({**GOOD, **changes}))
        return path

    return write


@contextmanager
def served(world):
    """Serve the emulated cloud in a thread: the command line runs a loop of its own."""
    world.clock.now = time.time()  # signatures are of today
    key = world.cloud.world.keyring.create_key("me")
    started: list[str] = []
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve():
        async with serving(create_openapi_app(world.cloud)) as url:
            started.append(url)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield {
            "ECS_ENDPOINT": started[0],
            "VPC_ENDPOINT": started[0],
            "ALIBABA_CLOUD_ACCESS_KEY_ID": key.id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": key.secret,
        }
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def test_a_plan_that_can_be_says_so_with_how_far_it_goes(file):
    ran = run(file(), "--offline")

    assert (ran.exit_code, ran.stderr) == (0, "")
    assert "it can be" in ran.output
    assert "cn-hangzhou-i  pods   8188       350" in ran.output
    assert all(len(line) <= 80 for line in ran.output.splitlines())


def test_what_stands_against_it_is_said_with_its_reason(file):
    ran = run(file(service_cidr=["10.20.0.0/20"], options={"exclusive": True}), "--offline")

    assert ran.exit_code == 1
    said = " ".join(ran.output.split())
    assert "x service_cidr is 10.20.0.0/20: overlaps vpc.cidr" in said
    assert "it must be more than 6" in said


def test_a_plan_is_read_as_strictly_as_a_configuration(file):
    ran = run(file(vpcs={}, nodes={"count": 0}), "--offline")

    assert ran.exit_code == 2
    assert "plan.vpcs is not a key of it: did you mean vpc" in ran.output
    assert "plan.nodes.count is 0" in ran.output


def test_json_has_objections_and_outlooks(file):
    found = json.loads(run(file(), "--offline", "--json").output)

    assert found["objections"] == []
    assert found["outlooks"][1] == {
        "zone": "cn-hangzhou-i",
        "for": "pods",
        "usable": 8188,
        "needed": 350,
        "months": None,
    }


def test_what_is_proposed_can_be(tmp_path):
    zones = ["--zone", "cn-hangzhou-i", "--zone", "cn-hangzhou-j"]
    proposed = run("--propose", "--nodes", 50, "--pods-per-node", 40, *zones)
    path = tmp_path / "proposed.yaml"
    path.write_text(proposed.output)

    assert proposed.exit_code == 0
    assert run(path).exit_code == 0


def test_a_plan_is_created_once_over_http(file):
    world = make_world()
    before = {*world.cloud.world.state.vpcs}
    with served(world) as env:
        first = run(file(), "--offline", "--apply", env=env)
        second = run(file(), "--offline", "--apply", env=env)

    assert first.exit_code == 0, first.output
    assert "create the VPC" in first.stderr
    assert second.exit_code == 0
    assert second.stderr == ""
    assert second.stdout == first.stdout
    assert "nothing to do" in second.stdout
    (vpc,) = world.cloud.world.state.vpcs.keys() - before
    made = world.cloud.world.state.vswitches_in(VpcId(vpc))
    assert [str(one.cidr) for one in made] == ["10.20.0.0/24", "10.20.32.0/19"]


def test_a_plan_that_cannot_be_is_not_created(file):
    world = make_world()
    before = len(world.cloud.calls.all)
    with served(world) as env:
        ran = run(file(service_cidr=["10.20.0.0/20"]), "--offline", "--apply", env=env)

    assert ran.exit_code == 1
    assert len(world.cloud.calls.all) == before


def test_types_are_asked_of_the_cloud_when_it_is_there():
    with served(make_world()) as env:
        args = ["capacity", "ecs.g7.xlarge", "--region", REGION]
        ran = CliRunner().invoke(cli, args, env=env)

    assert ran.exit_code == 0, ran.output
    assert "limits from DescribeInstanceTypes" in ran.output


def test_a_trace_says_which_watermarks_to_take(tmp_path):
    path = tmp_path / "pods.csv"
    starts = [f"n1,{3600 * hour},{3600 * hour + 600}" for hour in range(5) for _ in range(8)]
    path.write_text("node,start_s,end_s\n" + "\n".join(starts) + "\n")

    ran = run("--trace", path, "--addresses", 252)

    assert ran.exit_code == 0
    assert '"min_pool_size": 8, "max_pool_size": 8' in ran.output
    found = json.loads(run("--trace", path, "--json").output)
    assert found["proposed"]["outcome"]["waited"] == 0
    assert found["exhausted_after_days"] is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("node,start_s,end_s\nn1,x,5\n", "pod 1: could not convert"),
        ("node,start_s,end_s\nn1,9,5\n", "ends at 5, before its start 9"),
        ('[{"start_s": 1}]', "pod 1: 'node'"),
        ("[", "not JSON"),
        ("node,start_s,end_s\n", "has no pods"),
    ],
)
def test_a_trace_that_cannot_be_right_is_refused_by_pod(tmp_path, text, says):
    path = tmp_path / "pods"
    path.write_text(text)

    ran = run("--trace", path)

    assert ran.exit_code == 2
    assert says in ran.output


def test_half_a_key_of_the_environment_is_none():
    assert own_keys({"ALIBABA_CLOUD_ACCESS_KEY_ID": "x"}) is None
