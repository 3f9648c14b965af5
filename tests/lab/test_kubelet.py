"""What the lab's kubelet promises to pods, with a network that others wrote."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import pytest_asyncio

from terway.kube.client import Selector
from terway.kube.resource import CONFIG_MAPS, EVENTS, PODS, ObjectKey
from terway.kube.types import Event
from terway.lab.world.lab import Lab
from terway.lab.world.waiting import PATIENCE_S, wait_until
from tests.lab.plain import CONF, conflist, open_plain_lab

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

RAW = PODS.typed(dict)
SLEEP = ["/bin/sleep", "1000"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_plain_lab(name=f"k{uuid.uuid4().hex[:8]}", nodes=1) as lab:
        yield lab


class Runs:
    """Creates pods and waits for what is told of them."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    async def create(self, *containers: dict[str, Any], name: str = "", **spec: Any) -> str:
        name = name or f"p{uuid.uuid4().hex[:8]}"
        parts = [
            {"name": f"c{number}", "image": "busybox", **one}
            for number, one in enumerate(containers)
        ]
        body = {
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"containers": parts, "terminationGracePeriodSeconds": 1, **spec},
        }
        await self.lab.kube.create(RAW, body, namespace="default")
        return name

    async def until(
        self, name: str, holds: Callable[[dict[str, Any]], bool], *, timeout_s: float = PATIENCE_S
    ) -> dict[str, Any]:
        key = ObjectKey(namespace="default", name=name)

        def trouble(pods: Mapping[ObjectKey, dict[str, Any]]) -> str:
            status = pods[key]["status"] if key in pods else None
            return "" if status is not None and holds(status) else f"{name}: {status}"

        found = await wait_until(
            self.lab.kube, RAW, trouble, timeout_s=timeout_s, namespace="default"
        )
        return dict(found[key]["status"])

    async def phase(self, name: str, phase: str) -> dict[str, Any]:
        return await self.until(name, lambda status: status.get("phase") == phase)

    async def event(self, name: str, reason: str) -> Event:
        def told(events: Mapping[ObjectKey, Event]) -> list[Event]:
            return [
                one
                for one in events.values()
                if (one.involved_object.name, one.reason) == (name, reason)
            ]

        found = await wait_until(
            self.lab.kube,
            EVENTS,
            lambda events: "" if told(events) else f"no event {reason} of {name}",
            timeout_s=PATIENCE_S,
            namespace="default",
        )
        return told(found)[0]

    async def logs(self, name: str, container: str = "c0", *, previous: bool = False) -> str:
        path = RAW.path(namespace="default", name=name, subresource="log")
        params = {"container": container, "previous": str(previous).lower()}
        return (await self.lab.kube.request("GET", path, params=params)).decode()


@pytest.fixture
def runs(lab: Lab) -> Runs:
    return Runs(lab)


def state_of(status: dict[str, Any], number: int = 0) -> dict[str, Any]:
    states: list[dict[str, Any]] = status.get("containerStatuses") or [{}]
    return dict(states[number].get("state", {}))


def restarts_of(status: dict[str, Any]) -> int:
    return sum(one["restartCount"] for one in status.get("containerStatuses", ()))


async def test_a_pod_that_ends_has_succeeded_its_output_stays_and_its_address_is_given_back(
    lab: Lab, runs: Runs
) -> None:
    name = await runs.create(
        {"command": ["sh", "-c", "echo out; echo err >&2"]}, restartPolicy="Never"
    )

    status = await runs.phase(name, "Succeeded")

    assert status["podIP"].startswith("10.5.0.")
    assert await runs.logs(name) == "out\nerr\n"
    await runs.until(
        name,
        lambda status: any(
            (one["type"], one["status"]) == ("PodReadyToStartContainers", "False")
            for one in status["conditions"]
        ),
    )
    taken = lab.nodes["node-1"].inside(f"/var/lib/cni/networks/plain/{status['podIP']}")
    assert not taken.exists()


async def test_a_pod_has_a_network_host_name_process_and_file_tree_of_its_own(lab: Lab) -> None:
    pod = await lab.pod("own")
    await pod.exec("sh", "-c", "echo mine > /etc/only-here")

    assert (await pod.exec("hostname")).strip() == "own"
    assert (await pod.exec("ls", "/sys/class/net")).split() == ["eth0", "lo"]
    assert "tool.py" in (await pod.exec("cat", "/proc/1/cmdline"))
    assert "No such file" in await lab.node("node-1").exec("cat", "/etc/only-here", check=False)
    hosts = await pod.exec("cat", "/etc/hosts")
    assert f"{pod.addresses.v4}\town" in hosts


async def test_what_a_node_writes_stays_on_the_node(lab: Lab) -> None:
    node = lab.node("node-1")

    for folder in ("/etc", "/opt", "/var/lib", "/run"):
        await node.exec("touch", f"{folder}/of-the-node")
        assert "of-the-node" not in os.listdir(folder)


async def test_a_node_has_what_container_runtimes_need(lab: Lab) -> None:
    node = lab.node("node-1")

    mounts = await node.exec("cat", "/proc/mounts")

    assert " /sys/fs/bpf bpf " in mounts
    assert (await node.exec("ls", "/sys/fs/cgroup")).split()
    assert "eth0" in (await node.exec("ls", "/sys/class/net")).split()  # the node's own sysfs
    assert " /var/lib/containerd tmpfs " in mounts  # an overlay could not hold overlays
    assert "portmap" in await node.exec("ls", "/opt/cni/bin")


async def test_init_containers_run_one_after_the_other_before_the_rest(runs: Runs) -> None:
    volume = [{"name": "shared", "mountPath": "/data"}]
    init = [
        {
            "name": f"i{number}",
            "image": "busybox",
            "command": ["sh", "-c", f"echo {number} >> /data/order"],
            "volumeMounts": volume,
        }
        for number in (1, 2)
    ]
    name = await runs.create(
        {"command": ["cat", "/data/order"], "volumeMounts": volume},
        initContainers=init,
        volumes=[{"name": "shared", "emptyDir": {}}],
        restartPolicy="Never",
    )

    await runs.phase(name, "Succeeded")

    assert await runs.logs(name) == "1\n2\n"


async def test_an_init_container_that_fails_for_good_fails_the_pod(runs: Runs) -> None:
    init = [{"name": "i", "image": "busybox", "command": ["false"]}]
    name = await runs.create({"command": SLEEP}, initContainers=init, restartPolicy="Never")

    status = await runs.phase(name, "Failed")

    assert "running" not in state_of(status)


async def test_configuration_reaches_environment_command_and_files(lab: Lab, runs: Runs) -> None:
    config = {"metadata": {"name": "settings"}, "data": {"colour": "blue", "file": "text"}}
    await lab.kube.create(CONFIG_MAPS, config, namespace="default")
    env = [
        {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {
            "name": "COLOUR",
            "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}},
        },
    ]
    name = await runs.create(
        {
            "command": ["sh", "-c", "echo $(ME) $COLOUR; cat /etc/settings/file; pwd"],
            "env": env,
            "workingDir": "/usr",
            "volumeMounts": [{"name": "s", "mountPath": "/etc/settings", "readOnly": True}],
        },
        volumes=[{"name": "s", "configMap": {"name": "settings"}}],
        restartPolicy="Never",
    )

    await runs.phase(name, "Succeeded")

    assert await runs.logs(name) == f"{name} blue\ntext/usr\n"


async def test_a_missing_configmap_holds_the_pod_until_it_is_there(lab: Lab, runs: Runs) -> None:
    name = await runs.create(
        {"command": ["cat", "/late/x"], "volumeMounts": [{"name": "l", "mountPath": "/late"}]},
        volumes=[{"name": "l", "configMap": {"name": "late"}}],
        restartPolicy="Never",
    )
    event = await runs.event(name, "FailedMount")

    late = {"metadata": {"name": "late"}, "data": {"x": "here"}}
    await lab.kube.create(CONFIG_MAPS, late, namespace="default")

    assert 'configmap "late" not found' in event.message
    await runs.phase(name, "Succeeded")
    assert await runs.logs(name) == "here"


async def test_a_container_that_crashes_is_restarted_and_then_waits(runs: Runs) -> None:
    name = await runs.create({"command": ["sh", "-c", "echo once; exit 3"]})

    status = await runs.until(
        name,
        lambda status: state_of(status).get("waiting", {}).get("reason") == "CrashLoopBackOff",
    )

    held = status["containerStatuses"][0]
    assert held["restartCount"] == 1
    assert held["lastState"]["terminated"]["exitCode"] == 3
    assert await runs.logs(name, previous=True) == "once\n"
    assert (await runs.event(name, "BackOff")).type == "Warning"


async def test_a_container_without_a_command_says_what_is_missing(runs: Runs) -> None:
    name = await runs.create({"image": "nginx"})

    event = await runs.event(name, "Failed")
    status = await runs.until(name, lambda status: "waiting" in state_of(status))

    assert "give the container a command" in event.message
    assert status["phase"] == "Pending"


async def test_a_program_that_is_not_there_is_told(runs: Runs) -> None:
    name = await runs.create({"command": ["/no/such/program"]})

    assert "No such file" in (await runs.event(name, "Failed")).message


async def test_what_the_lab_cannot_do_is_refused_and_not_left_out(runs: Runs) -> None:
    name = await runs.create({"command": SLEEP}, volumes=[{"name": "d", "nfs": {"server": "x"}}])

    status = await runs.phase(name, "Failed")

    assert status["reason"] == "UnsupportedPodSpec"


async def test_a_liveness_probe_has_a_sick_container_restarted(runs: Runs) -> None:
    probe = {
        "exec": {"command": ["test", "!", "-e", "/tmp/sick"]},
        "periodSeconds": 1,
        "failureThreshold": 1,
    }
    name = await runs.create(
        {"command": ["sh", "-c", "touch /tmp/sick; exec sleep 1000"], "livenessProbe": probe}
    )

    await runs.until(name, lambda status: restarts_of(status) > 0)

    assert "failed liveness probe" in (await runs.event(name, "Killing")).message


async def test_a_readiness_probe_over_http_comes_from_the_node(lab: Lab, runs: Runs) -> None:
    tool = "/opt/terway-lab/tool.py"
    probe = {"httpGet": {"path": "/", "port": "web"}, "periodSeconds": 1}
    name = await runs.create(
        {
            "command": ["python3", "-I", "-S", tool, "serve"],
            "ports": [{"name": "web", "containerPort": 8080}],
            "readinessProbe": probe,
        }
    )

    pod = await lab.wait_pod(name)

    assert (await pod.tool("whoami", str(pod.addresses.v4)))["host"] == name


async def test_a_container_gets_its_time_to_end(lab: Lab, runs: Runs) -> None:
    script = "trap 'echo bye > /out/bye; exit 0' TERM; touch /out/up; while :; do sleep 0.05; done"
    folder = f"/run/{uuid.uuid4().hex}"
    name = await runs.create(
        {
            "command": ["sh", "-c", script],
            "volumeMounts": [{"name": "out", "mountPath": "/out"}],
            "lifecycle": {"preStop": {"exec": {"command": ["touch", "/out/pre"]}}},
            "readinessProbe": {"exec": {"command": ["test", "-e", "/out/up"]}},
        },
        volumes=[{"name": "out", "hostPath": {"path": folder}}],
        terminationGracePeriodSeconds=20,
    )
    await lab.wait_pod(name)

    await lab.delete_pod(name)

    left = {path.name for path in lab.nodes["node-1"].inside(folder).iterdir()}
    assert left == {"up", "pre", "bye"}


async def test_a_container_that_will_not_end_is_killed(lab: Lab, runs: Runs) -> None:
    name = await runs.create({"command": SLEEP})  # as PID 1 it ignores SIGTERM
    await runs.phase(name, "Running")

    await lab.delete_pod(name)

    assert name not in await lab.node("node-1").exec("ps", "ax")


async def test_L2_nothing_of_a_deleted_pod_is_left_on_the_node(lab: Lab) -> None:
    pod = await lab.pod("gone")
    await lab.delete_pod("gone")

    node = lab.node("node-1")
    assert pod.netns_path.rpartition("/")[2] not in await node.exec("ls", "/run/netns")
    assert not node.inside(f"/var/lib/kubelet/pods/{pod.meta.uid}").exists()
    assert str(pod.addresses.v4) not in (await node.exec("ip", "route")).split()


async def test_a_host_network_pod_has_the_nodes_addresses(lab: Lab) -> None:
    pod = await lab.pod("host", host_network=True, command=SLEEP)

    assert [f"{one}" for one in pod.addresses] == [
        address.partition("/")[0] for address in lab.node("node-1").spec.addresses
    ]
    assert (await pod.exec("hostname")).strip() == "node-1"


async def test_a_network_that_fails_is_told_and_tried_again(lab: Lab, runs: Runs) -> None:
    path = lab.node("node-1").inside(CONF)
    path.write_text(conflist(0).replace('"ptp"', '"absent"'))

    name = await runs.create({"command": SLEEP})
    event = await runs.event(name, "FailedCreatePodSandBox")
    path.write_text(conflist(0))

    assert "failed to find plugin" in event.message
    await runs.phase(name, "Running")


async def test_a_pod_deleted_while_its_network_fails_goes_away(lab: Lab, runs: Runs) -> None:
    path = lab.node("node-1").inside(CONF)
    path.write_text(conflist(0).replace('"ptp"', '"absent"'))
    name = await runs.create({"command": SLEEP})
    await runs.event(name, "FailedCreatePodSandBox")

    await lab.delete_pod(name)

    path.write_text(conflist(0))


async def test_the_node_tells_who_and_where_it_is(lab: Lab) -> None:
    listing = await lab.kube.list(PODS, selector=Selector(fields="spec.nodeName=node-1"))
    node = await lab.node("node-1").exec("cat", "/etc/hostname")

    assert node == "node-1\n"
    assert all(pod.spec.node_name == "node-1" for pod in listing.items)
