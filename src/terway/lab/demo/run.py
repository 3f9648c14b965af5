"""What happens in the demo, from nothing to nothing?"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from terway.kube.client import KubeClient
from terway.kube.connection import Connection
from terway.kube.resource import PODS, ObjectKey
from terway.kube.types import Pod
from terway.lab.demo.measure import Measurement, choose_paths, measure
from terway.lab.demo.screen import Screen, Step
from terway.lab.demo.summary import node_table, pod_table, traffic_table
from terway.lab.world.client import LabClient, start_lab
from terway.lab.world.plan import LabPlan
from terway.lab.world.waiting import wait_until
from terway.model.errors import VpcError

NAMESPACE = "shop"
_PODS = 9  # of the two Deployments; the DaemonSet has one a node
_PODS_S = 45.0


def run_demo(plan: LabPlan, *, keep: bool) -> int:
    """Run the demo and return the exit status."""
    screen = Screen(is_terminal=sys.stdout.isatty())
    screen.title(
        f"terway demo: {plan.nodes} ECS nodes ({plan.instance_type}) on a VPC in this machine"
    )
    client = LabClient(plan.name)
    try:
        _perform(plan, client, screen, keep=keep)
    except VpcError as error:
        screen.lines(["", f"the demo failed: {error}"], indent="")
        client.down()
        return 1
    except KeyboardInterrupt:
        client.down()
        return 130
    return 0


def _perform(plan: LabPlan, client: LabClient, screen: Screen, *, keep: bool) -> None:
    with screen.step("cloud, VPC, Kubernetes API and nodes") as step:
        start_lab(plan, step.note, tied=not keep)
    with screen.step("an application from ordinary manifests") as step:
        manifests = files("terway.lab.demo").joinpath("shop.yaml").read_text()
        client.request("POST", "/apply", manifests)
        asyncio.run(_wait_for_pods(client, _PODS + plan.nodes, step))
    status = client.status()
    screen.title("Nodes")
    screen.lines(node_table(status))
    screen.title("Pods: each has its own network stack, and addresses of the VPC")
    screen.lines(pod_table(status))
    screen.title("Traffic: processes in pods and on nodes, through the VPC")
    measurements = _measure(plan, client, screen, status)
    screen.lines(["", *traffic_table(measurements)])
    _end(client, screen, keep=keep)


async def _wait_for_pods(client: LabClient, count: int, step: Step) -> None:
    connection = Connection(server=f"unix://{client.paths.api_socket}")

    def trouble(pods: Mapping[ObjectKey, Pod]) -> str:
        ready = sum(_is_ready(pod) for pod in pods.values())
        return f"{ready} of {count} pods are Ready" if ready < count else ""

    async with KubeClient(connection) as kube:
        await wait_until(
            kube, PODS, trouble, timeout_s=_PODS_S, namespace=NAMESPACE, progress=step.note
        )


def _is_ready(pod: Pod) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions)


def _measure(
    plan: LabPlan, client: LabClient, screen: Screen, status: Mapping[str, Any]
) -> list[Measurement]:
    paths = choose_paths(status)
    found: list[Measurement] = []
    with screen.step("measuring round trip and throughput") as step:
        for one in measure(paths, plan.stack.families, client.words):
            found.append(one)
            step.note(f"{one.path}, IPv{one.family.value}: {one.rtt_us:.0f} us")
    return found


def _end(client: LabClient, screen: Screen, *, keep: bool) -> None:
    name = client.paths.name
    if keep:
        screen.title(f"The lab {name!r} stays up. Try:")
        screen.lines(
            [
                f"terway-lab kubectl --name {name} get pods -n {NAMESPACE} -o wide",
                f"terway-lab exec --name {name} node-1 ip rule",
                f"terway-lab exec --name {name} node-1 ip address",
                f"terway-lab restart-agent --name {name} --kill node-1",
                f"terway-lab status --name {name}",
                f"terway-lab down --name {name}",
            ]
        )
        return
    screen.lines([""])
    with screen.step("taking everything down"):
        client.down()
    screen.lines([f"{screen.elapsed_s:5.1f}s  nothing is left behind"], indent="")
