"""What a lab says and finds: abbreviated names, last words, failures, pauses, patient plans."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from terway.cli.place import place_of
from terway.lab.cloud.cloud import Cloud
from terway.lab.commands import _tool_environment
from terway.lab.demo.measure import _run
from terway.lab.demo.summary import instance_table, pod_table
from terway.lab.kubelet.readiness import pause_s
from terway.lab.node.filesystem import ADMIN_KUBECONFIG, AGENT_KUBECONFIG
from terway.lab.world.agent_watch import wait_serving
from terway.lab.world.client import LabClient
from terway.lab.world.failures import explain
from terway.lab.world.ground import lay_ground
from terway.lab.world.lastwords import last_error, node_trouble
from terway.lab.world.node import NodeHandle
from terway.lab.world.paths import LabPaths
from terway.lab.world.plan import EXCLUSIVE_LABELS, LabPlan, NodePool
from terway.lab.world.targets import find_target
from terway.model.address import IPStack
from terway.model.errors import BugError, TransientError, UsageError

PODS = ["shop/client-6f7-q95g4", "shop/client-6f7-x11aa", "shop/web-1", "default/a"]


@pytest.mark.parametrize("target", ["shop/client…-q95g4", "shop/c...q95g4", "…q95g4"])
def test_a_name_pasted_with_its_ellipsis_is_found(target: str) -> None:
    assert find_target(target, PODS) == "shop/client-6f7-q95g4"


def test_a_whole_name_is_taken_as_it_is() -> None:
    assert find_target("shop/other", PODS) == "shop/other"


def test_an_abbreviation_of_several_names_is_refused_with_them() -> None:
    with pytest.raises(UsageError, match="q95g4, shop/client-6f7-x11aa"):
        find_target("shop/client…", PODS)


def test_an_abbreviation_never_counts_a_letter_twice() -> None:
    with pytest.raises(UsageError, match="no pod's name"):
        find_target("shop/web…b-1", ["shop/web-1"])


def log_line(level: str, event: str) -> str:
    return json.dumps({"event": event, "level": level})


def test_the_last_error_of_a_log_is_found_under_later_noise() -> None:
    lines = [log_line("error", "old"), log_line("error", "bad"), log_line("info", "cni.request")]

    assert last_error(lines) == log_line("error", "bad")
    assert last_error(["Traceback:", "OSError: no", log_line("info", "x")]) == "OSError: no"
    assert last_error(["  | OSError: no", "  +-----------"]) == "OSError: no"
    assert last_error([log_line("info", "x")]) == ""


def test_a_node_that_is_not_ready_says_its_own_reason(tmp_path: Path) -> None:
    (tmp_path / "node.log").write_text("12:00:00 registering the node: 422 Invalid value\n")
    (tmp_path / "terwayd.log").write_text(log_line("info", "noise") + "\n")

    assert (
        node_trouble(str(tmp_path)) == "node.log: 12:00:00 registering the node: 422 Invalid value"
    )
    assert node_trouble(str(tmp_path / "none")) == "it said nothing"


def test_errors_of_ours_are_told_once_and_without_a_traceback() -> None:
    same = UsageError("bad type")

    assert explain(ExceptionGroup("x", [same, ExceptionGroup("y", [UsageError("bad type")])])) == (
        "bad type"
    )


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), BugError("never")])
def test_an_unexpected_error_is_told_with_where_it_was(error: Exception) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        fail()

    assert "in fail" in explain(caught.value)
    assert str(error) in explain(caught.value)


class RestartedNode:
    """A node of which only terwayd's socket, its starts and its log are looked at."""

    name = "node-1"
    agent_pid = 7

    def __init__(self, folder: Path, *, crashes: bool) -> None:
        self.spec = SimpleNamespace(log_dir=str(folder))
        self._folder = folder
        self._starts = itertools.count(1, int(crashes))

    @property
    def agent_starts(self) -> int:
        return next(self._starts)

    def inside(self, path: str) -> Path:
        return self._folder


async def test_a_restarted_terwayd_is_waited_for_until_it_takes_connections(tmp_path: Path) -> None:
    node = cast("NodeHandle", RestartedNode(tmp_path, crashes=False))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "cni.socket"))
        waiting = asyncio.create_task(wait_serving(node))
        await asyncio.sleep(0)
        assert not waiting.done()

        listener.listen()

        await waiting


async def test_a_terwayd_that_crashes_again_and_again_is_told_with_its_error(
    tmp_path: Path,
) -> None:
    (tmp_path / "terwayd.log").write_text("UsageError: vswitches: 3\n")

    with pytest.raises(TransientError, match=r"does not serve.*vswitches: 3"):
        await wait_serving(cast("NodeHandle", RestartedNode(tmp_path, crashes=True)))


def test_a_lab_that_had_been_up_leaves_word_of_its_failure(tmp_path: Path) -> None:
    client = LabClient("gone")
    client.paths = LabPaths(name="gone", root=tmp_path)
    client.paths.failure.write_text("ValueError: odd")

    with pytest.raises(UsageError, match=r"up --name gone\nit had been up, and failed: ValueError"):
        client.status()

    assert not client.down()
    assert not client.paths.failure.exists()


def test_trouble_is_looked_at_more_rarely_the_longer_it_lasts() -> None:
    pauses = [pause_s(troubled_s) for troubled_s in (0.0, 0.5, 10.0, 1000.0)]

    assert pauses == [0.1, 0.1, 1.0, 5.0]
    assert pause_s(None) == 5.0


def test_an_unknown_instance_type_is_refused_once_with_a_remedy() -> None:
    cloud = Cloud(clock=lambda: 0.0)

    with pytest.raises(UsageError, match=r"'ecs\.g7\.2xlarg' does not exist; .*ecs\.g7\.2xlarge"):
        lay_ground(cloud, LabPlan(instance_type="ecs.g7.2xlarg"))

    assert not cloud.world.state.vpcs


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (
            LabPlan(stack=IPStack.IPV4, instance_type="ecs.c5.large"),
            r"ecs\.c5\.large holds .*\(EniQuantity - 1\) x .*: it must be more than 11",
        ),
        (
            LabPlan(
                pools=(
                    NodePool(
                        name="eni", nodes=1, instance_type="ecs.g7.large", labels=EXCLUSIVE_LABELS
                    ),
                )
            ),
            r"ecs\.g7\.large holds .* EniQuantity - 1 = .*: it must be more than 6",
        ),
    ],
)
def test_a_type_that_terwayd_would_refuse_is_refused_before_anything_is_built(
    plan: LabPlan, says: str
) -> None:
    cloud = Cloud(clock=lambda: 0.0)

    with pytest.raises(UsageError, match=says):
        lay_ground(cloud, plan)

    assert not cloud.world.state.vpcs


def test_a_lab_without_terwayd_may_have_any_type() -> None:
    plan = LabPlan(stack=IPStack.IPV4, instance_type="ecs.c5.large", agent=False)

    lay_ground(Cloud(clock=lambda: 0.0), plan)


def test_a_tool_that_is_run_on_a_node_needs_no_terwayd_to_find_the_lab() -> None:
    told = _tool_environment("node-1", {"access_key_id": "a", "access_key_secret": "b"})

    place = place_of(told, root=Path("/nowhere"))
    assert place.node_name == "node-1"
    assert place.ecs_endpoint == place.vpc_endpoint == "http://100.100.0.10"
    assert place.metadata_url == "http://100.100.100.200"
    assert place.access_key is not None


def test_a_tool_that_a_person_runs_on_a_node_does_not_ask_as_terwayd() -> None:
    told = _tool_environment("node-1", {"access_key_id": "a", "access_key_secret": "b"})

    assert place_of(told, root=Path("/nowhere")).kubeconfig == ADMIN_KUBECONFIG
    assert ADMIN_KUBECONFIG != AGENT_KUBECONFIG


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL: it said nothing"),
        ("import sys; sys.exit('refused')", "exit status 1: refused"),
        ("", "exit status 0: it said nothing"),
    ],
)
def test_a_measurement_that_fails_says_how_its_tool_ended(code: str, said: str) -> None:
    with pytest.raises(TransientError, match=said):
        _run([sys.executable, "-I", "-S", "-c", code])


def pod(name: str) -> dict[str, Any]:
    return {
        "namespace": "shop",
        "name": name,
        "node": "node-1",
        "host_network": False,
        "addresses": ["192.168.32.10", "2001:db8:0:102:6b10:e53a:9145:de05"],
    }


def test_names_of_pods_are_whole_where_nobody_counts_columns() -> None:
    status = {"pods": [pod("client-5d9c7f6b58-q95g4")]}

    assert pod_table(status, columns=None)[1].startswith("shop/client-5d9c7f6b58-q95g4 ")
    assert max(map(len, pod_table(status, columns=80))) <= 80


def test_attached_instances_are_shown() -> None:
    one = {"name": "mine", "instance_id": "i-1", "addresses": ["192.168.0.9"]}

    assert instance_table({"instances": [one]})[-1].split() == ["mine", "i-1", "192.168.0.9"]
    assert instance_table({"instances": []}) == []
