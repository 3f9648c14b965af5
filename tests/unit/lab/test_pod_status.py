"""The status that the lab's kubelet tells of pods and containers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from terway.lab.kubelet.podspec import Pod, Probe
from terway.lab.kubelet.probe import Answer, Verdict
from terway.lab.kubelet.state import (
    ContainerView,
    Running,
    State,
    Terminated,
    Waiting,
    exit_code_of,
    next_backoff_s,
    should_restart,
)
from terway.lab.kubelet.status import PodView, phase_of, pod_status, status_patch


def ended(code: int) -> Terminated:
    return Terminated(exit_code=code, reason="x", started_at=0, finished_at=1)


RUNNING = Running(started_at=0)
CRASHED = Waiting(reason="CrashLoopBackOff")


def pod(policy: str = "Always") -> Pod:
    return msgspec.convert({"metadata": {"name": "a"}, "spec": {"restartPolicy": policy}}, Pod)


def views(*states: State, ready: bool = False, last: Terminated | None = None) -> Any:
    return tuple(
        ContainerView(name=f"c{n}", image="i", state=state, ready=ready, last=last)
        for n, state in enumerate(states)
    )


@pytest.mark.parametrize(
    ("policy", "init", "states", "phase"),
    [
        ("Always", (), (Waiting(),), "Pending"),
        ("Always", (), (RUNNING,), "Running"),
        ("Always", (RUNNING,), (Waiting(),), "Pending"),
        ("Always", (ended(0),), (RUNNING,), "Running"),
        ("Always", (), (ended(0),), "Running"),
        ("Never", (), (ended(0), RUNNING), "Running"),
        ("Never", (), (ended(0), ended(0)), "Succeeded"),
        ("Never", (), (ended(0), ended(1)), "Failed"),
        ("OnFailure", (), (ended(0),), "Succeeded"),
        ("OnFailure", (), (ended(1),), "Running"),
        ("Never", (ended(1),), (Waiting(),), "Failed"),
    ],
)
def test_the_phase_follows_from_the_containers(
    policy: str, init: tuple[State, ...], states: tuple[State, ...], phase: str
) -> None:
    view = PodView(host_ips=(), init=views(*init), containers=views(*states))

    assert phase_of(pod(policy), view) == phase


def test_a_pod_whose_container_crashes_is_running_and_not_ready() -> None:
    view = PodView(host_ips=("192.168.0.1",), containers=views(CRASHED, last=ended(1)))

    status = pod_status(pod(), view, now=5.0)

    assert status["phase"] == "Running"
    ready = next(one for one in status["conditions"] if one["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ContainersNotReady")
    assert status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 1


def test_a_condition_that_did_not_change_keeps_its_time() -> None:
    old = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    running = msgspec.convert({"metadata": {"name": "a"}, "status": {"conditions": [old]}}, Pod)
    view = PodView(host_ips=(), containers=views(RUNNING, ready=True))

    conditions = pod_status(running, view, now=1e9)["conditions"]

    ready = next(one for one in conditions if one["type"] == "Ready")
    assert ready["lastTransitionTime"] == "2026-01-01T00:00:00Z"


def test_the_addresses_of_both_families_are_told_the_first_twice() -> None:
    view = PodView(host_ips=(), pod_ips=("192.168.32.1", "2001:db8::1"), containers=views(RUNNING))

    status = pod_status(pod(), view, now=0)

    assert status["podIP"] == "192.168.32.1"
    assert status["podIPs"] == [{"ip": "192.168.32.1"}, {"ip": "2001:db8::1"}]


def test_restarts_wait_longer_each_time_until_a_container_has_run_for_long() -> None:
    waits = [0.0]
    for _ in range(7):
        waits.append(next_backoff_s(waits[-1], ran_s=1))

    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]
    assert next_backoff_s(300, ran_s=601) == 10


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [("Always", 0, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)],
)
def test_the_policy_decides_over_a_restart(policy: str, code: int, again: bool) -> None:
    assert should_restart(policy, code) is again


def test_an_end_by_signal_is_told_as_runc_tells_it() -> None:
    assert (exit_code_of(-9), exit_code_of(3)) == (137, 3)


def test_a_verdict_changes_only_when_a_threshold_is_reached() -> None:
    probe = Probe(success_threshold=2, failure_threshold=3)
    verdict = Verdict(ok=False)
    seen = []
    for ok in (True, False, True, True, False, False, True, False, False, False):
        verdict = verdict.after(Answer(ok=ok), probe)
        seen.append(verdict.ok)

    assert seen == [False, False, False, True, True, True, True, True, True, False]


def gated(*gates: tuple[str, str]) -> dict[str, Any]:
    view = PodView(host_ips=(), containers=views(RUNNING, ready=True), gates=gates)
    status = pod_status(pod(), view, now=0)
    return {one["type"]: one for one in status["conditions"]}


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("", 'corresponding condition of pod readiness gate "lb" does not exist.'),
        ("False", 'the status of pod readiness gate "lb" is not "True", but False'),
    ],
)
def test_a_pod_with_a_closed_gate_is_not_ready_though_its_containers_are(
    status: str, message: str
) -> None:
    conditions = gated(("lb", status))

    assert conditions["ContainersReady"]["status"] == "True"
    ready = conditions["Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "ReadinessGatesNotReady")
    assert ready["message"] == message


def test_a_pod_whose_gates_are_all_open_is_ready() -> None:
    assert gated(("lb", "True"), ("dns", "True"))["Ready"]["status"] == "True"


def test_a_pod_knows_which_of_its_gates_are_open() -> None:
    held = {
        "spec": {"readinessGates": [{"conditionType": "lb"}, {"conditionType": "dns"}]},
        "status": {"conditions": [{"type": "lb", "status": "False"}]},
    }

    assert msgspec.convert(held, Pod).gates == (("lb", "False"), ("dns", ""))


def test_a_status_replaces_addresses_and_leaves_the_conditions_of_others() -> None:
    view = PodView(host_ips=("192.168.0.1",), pod_ips=("192.168.32.2",))
    patch = status_patch(pod_status(pod(), view, now=0))

    assert patch["status"]["podIPs"] == [{"ip": "192.168.32.2"}, {"$patch": "replace"}]
    assert {"$patch": "replace"} not in patch["status"]["conditions"]
