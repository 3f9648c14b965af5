"""What kubectl shows: columns, one-word pod states, ages."""

from __future__ import annotations

import pytest

from terway.lab.kubeapi.cells import human_duration
from terway.lab.kubeapi.objects import Object
from terway.lab.kubeapi.podstatus import pod_ready, pod_restarts, pod_status
from terway.lab.kubeapi.quantities import parse_quantity, scaled_value
from terway.lab.kubeapi.resources import BUILT_IN, DEPLOYMENT, ENDPOINTS, SERVICE
from terway.lab.kubeapi.tables import make_table
from tests.support.cluster import START, deployment_manifest, make_cluster


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (60 * 60, "60m"),
        (3 * 3600, "3h"),
        (5 * 3600 + 60, "5h1m"),
        (30 * 3600, "30h"),
        (3 * 86400 + 7200, "3d2h"),
        (100 * 86400, "100d"),
        (800 * 86400, "2y70d"),
        (-5, "0s"),
    ],
)
def test_ages_are_rounded_as_kubectl_rounds_them(seconds, text):
    assert human_duration(seconds) == text


def pod(*states: Object, phase: str = "Running", **status: object) -> Object:
    held = [
        {"name": f"c{index}", "state": state, "ready": "running" in state, "restartCount": 0}
        for index, state in enumerate(states)
    ]
    containers = [{"name": one["name"]} for one in held]
    return {
        "metadata": {"name": "a"},
        "spec": {"containers": containers},
        "status": {"phase": phase, "containerStatuses": held, **status},
    }


RUNNING: Object = {"running": {}}
CRASHING: Object = {"waiting": {"reason": "CrashLoopBackOff"}}


@pytest.mark.parametrize(
    ("held", "shown"),
    [
        (pod(phase="Pending"), "Pending"),
        (pod(RUNNING), "Running"),
        (pod(RUNNING, CRASHING), "CrashLoopBackOff"),
        (pod({"terminated": {"reason": "Completed", "exitCode": 0}}), "Completed"),
        (pod({"terminated": {"exitCode": 3}}), "ExitCode:3"),
        (pod({"terminated": {"signal": 9, "exitCode": 137}}), "Signal:9"),
        (pod(phase="Failed", reason="Evicted"), "Evicted"),
        ({**pod(RUNNING), "metadata": {"deletionTimestamp": "now"}}, "Terminating"),
        (
            pod(initContainerStatuses=[{"name": "i", "state": RUNNING}]),
            "Init:0/0",
        ),
        (
            pod(initContainerStatuses=[{"name": "i", "state": CRASHING}]),
            "Init:CrashLoopBackOff",
        ),
        (
            pod(
                RUNNING,
                initContainerStatuses=[{"name": "i", "state": {"terminated": {"exitCode": 0}}}],
            ),
            "Running",
        ),
    ],
)
def test_a_pod_in_one_word(held, shown):
    assert pod_status(held) == shown


def test_ready_and_restarts_are_summed_over_the_containers():
    held = pod(RUNNING, CRASHING)
    held["status"]["containerStatuses"][1] |= {
        "restartCount": 4,
        "lastState": {"terminated": {"finishedAt": "2025-10-09T08:53:10Z"}},
    }

    assert pod_ready(held) == "1/2"
    assert pod_restarts(held, START, human_duration) == "4 (10s ago)"


def cells(resource, obj) -> list[object]:
    table = make_table(resource, [obj], list_metadata={}, now=START)
    shown: list[object] = table["rows"][0]["cells"]
    return shown


def test_a_table_has_a_cell_for_each_column_of_each_kind():
    for resource in BUILT_IN:
        obj = {"metadata": {"name": "x", "creationTimestamp": "2025-10-09T08:53:10Z"}}
        table = make_table(resource, [obj], list_metadata={}, now=START)

        assert len(table["rows"][0]["cells"]) == len(table["columnDefinitions"])


def test_a_deployments_row():
    state = make_cluster()
    state.create(DEPLOYMENT, deployment_manifest())

    row = cells(DEPLOYMENT, state.get(DEPLOYMENT, "web", "default").object)

    assert row == ["web", "0/3", 0, 0, "0s", "c", "busybox", "app=web"]


def test_a_services_row_names_ports_and_addresses():
    spec = {
        "type": "LoadBalancer",
        "clusterIP": "172.21.0.9",
        "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}],
        "selector": {"app": "web"},
    }
    service: Object = {"metadata": {"name": "s"}, "spec": spec}

    row = cells(SERVICE, service)

    assert row[1:5] == ["LoadBalancer", "172.21.0.9", "<pending>", "80:30080/TCP"]


def test_only_the_first_endpoints_are_shown():
    addresses = [{"ip": f"192.168.32.{last}"} for last in range(1, 6)]
    subsets = [{"addresses": addresses, "ports": [{"port": 80}]}]
    endpoints: Object = {"metadata": {"name": "e"}, "subsets": subsets}

    shown = cells(ENDPOINTS, endpoints)[1]

    assert shown == "192.168.32.1:80,192.168.32.2:80,192.168.32.3:80 + 2 more..."


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5), ("100m", 0.1), ("1Gi", 1 << 30), ("2k", 2000), ("1e3", 1000), (7, 7), (".5", 0.5)],
)
def test_a_quantity_is_a_number_with_a_unit(text, value):
    assert float(parse_quantity(text)) == value


@pytest.mark.parametrize("text", ["", "lots", "5 Gi", "1GB"])
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("wanted", "total", "up", "down"), [("25%", 4, 1, 1), ("25%", 3, 1, 0), (2, 3, 2, 2)]
)
def test_a_share_is_rounded_up_or_down(wanted, total, up, down):
    assert scaled_value(wanted, total, round_up=True) == up
    assert scaled_value(wanted, total, round_up=False) == down
