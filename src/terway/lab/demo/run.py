"""What happens in the demo, from nothing to nothing?"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.resources import files
from shutil import which
from typing import Any

from terway.kube.client import KubeClient
from terway.kube.connection import Connection
from terway.kube.resource import PODS, ObjectKey
from terway.kube.types import Pod
from terway.lab.demo.compare import Comparison, compare, comparison_table
from terway.lab.demo.isolation import (
    attempt_table,
    attempts_of,
    log_lines,
    policies_in_force,
    try_all,
    verify,
)
from terway.lab.demo.managed import show_managed
from terway.lab.demo.measure import Measurement, choose_paths, measure
from terway.lab.demo.screen import Screen, Step
from terway.lab.demo.summary import node_table, pod_table, traffic_table
from terway.lab.world.client import LabClient, start_lab
from terway.lab.world.paths import leftovers, list_labs
from terway.lab.world.plan import LabPlan, PodNetwork
from terway.lab.world.waiting import wait_until
from terway.model.address import IPStack
from terway.model.errors import TransientError, VpcError

NAMESPACE = "shop"
_PODS = 9  # of the two Deployments; the DaemonSet has one a node
_PODS_S = 120.0
# A name of a lab has 32 characters at most; this leaves room for the number.
_LONGEST_WANTED = 28


def run_demo(plan: LabPlan, *, keep: bool) -> int:
    """Run the demo and return the exit status."""
    screen = Screen(is_terminal=sys.stdout.isatty())
    screen.title(
        f"terway demo: {plan.nodes} ECS nodes ({plan.instance_type}) on a VPC in this machine"
    )
    try:
        with screen.step("cloud, VPC, nodes") as step:
            client = start_lab(plan, step.note, tied=not keep)
        try:
            _perform(plan, client, screen, keep=keep)
        except BaseException:
            client.down()
            raise
    except VpcError as error:
        screen.lines(["", f"the demo failed: {error}"], indent="")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def free_name(wanted: str = "demo") -> str:
    """Return `wanted`, or `wanted` and a number: a name that no other lab has."""
    taken = {lab.name for lab in list_labs() if lab.is_alive()}
    short = wanted[:_LONGEST_WANTED].rstrip("-")
    names = (wanted, *(f"{short}-{number}" for number in range(2, 1000)))
    return next(name for name in names if name not in taken)


def _perform(plan: LabPlan, client: LabClient, screen: Screen, *, keep: bool) -> None:
    ready_s = _run_application(plan, client, screen)
    status = client.status()
    screen.title("Nodes")
    screen.lines(node_table(status))
    screen.title("Pods: each has its own network stack, and addresses of the VPC")
    screen.lines(pod_table(status))
    screen.title("Traffic: processes in pods and on nodes, through the VPC")
    measurements = _measure(plan, client, screen, status)
    screen.lines(["", *traffic_table(measurements)])
    _isolate(plan, client, screen, status)
    show_managed(plan, client, screen)
    screen.title("Beside it: the same application over Flannel-style networks, same VPC")
    screen.lines(["", *comparison_table(list(_compare(plan, client, screen, ready_s)))])
    screen.lines(["", "one short run each: ratios move by some percent on a busy machine"])
    _end(client, screen, keep=keep)


def _run_application(plan: LabPlan, client: LabClient, screen: Screen) -> float:
    """Apply the application and return after how many seconds all of it was Ready."""
    began = time.monotonic()
    with screen.step("application") as step:
        manifests = files("terway.lab.demo").joinpath("shop.yaml").read_text()
        client.request("POST", "/apply", manifests)
        asyncio.run(_wait_for_pods(client, _PODS + plan.nodes, step))
    return time.monotonic() - began


def _compare(
    plan: LabPlan, client: LabClient, screen: Screen, ready_s: float
) -> Iterator[Comparison]:
    """Yield what was measured of the demo's lab, and of one lab for each other network."""
    with screen.step("measuring it against its own nodes") as step:
        yield compare(PodNetwork.TERWAY, client, ready_s, step.note)
    for network in (PodNetwork.FLANNEL_VXLAN, PodNetwork.FLANNEL_VPC):
        other = replace(plan, name=free_name(plan.name), network=network, stack=IPStack.IPV4)
        other = replace(other, control_plane=False, eni_conf={})
        with screen.step(f"{network.value}: cloud, VPC, nodes") as step:
            lab = start_lab(other, step.note, tied=True)
        try:
            its_s = _run_application(other, lab, screen)
            with screen.step(f"{network.value}: measuring") as step:
                yield compare(network, lab, its_s, step.note)
        finally:
            _take_down(lab)


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
    with screen.step("measuring") as step:
        for one in measure(paths, plan.stack.families, client.words):
            found.append(one)
            step.note(f"{one.path}, IPv{one.family.value}: {one.rtt_us:.0f} us")
    return found


def _isolate(plan: LabPlan, client: LabClient, screen: Screen, status: Mapping[str, Any]) -> None:
    """Try connections under policies, which go again."""
    screen.title("Policies: nobody gets in, but clients to port 8080 of the web servers")
    attempts = attempts_of(status, plan.stack.families)
    with screen.step("trying connections") as step:
        step.note("policies in force on every node")
        with policies_in_force(client):
            step.note("answered at once, or dropped")
            found = try_all(attempts, client.words)
            step.note("reading the kernel back")
            verified = verify(attempts[0].target, client.words)
    target = attempts[0].target
    screen.lines(["", *attempt_table(attempts, found)])
    told = log_lines(found, plan.stack.families[0])
    screen.lines(["", f"{target.node}$ terway-cli flows", *told], indent="")
    screen.lines(["", f"{target.node}$ terway-cli policy verify", *verified], indent="")


def _end(client: LabClient, screen: Screen, *, keep: bool) -> None:
    name = client.paths.name
    if keep:
        # From a checkout the program is in its virtual environment, and on nobody's PATH.
        program = "terway-lab" if which("terway-lab") else sys.argv[0]
        screen.title(f"The lab {name!r} stays up. Try:")
        tries = (
            f"kubectl --name {name} get pods -n {NAMESPACE} -o wide",
            f"exec --name {name} node-1 ip rule",
            f"exec --name {name} node-1 ip address",
            f"run --name {name} node-1 terway-cli show",
            f"run --name {name} node-1 terway-cli flows --for 5s",
            f"restart-agent --name {name} --kill node-1",
            f"status --name {name}",
            f"down --name {name}",
        )
        screen.lines([f"{program} {one}" for one in tries])
        return
    screen.lines([""])
    with screen.step("taking everything down"):
        _take_down(client)
    screen.lines([f"{screen.elapsed_s:5.1f}s  no process, mount, link or file is left"], indent="")


def _take_down(client: LabClient) -> None:
    """End a lab. Raises TransientError when anything of it is left."""
    client.down()
    left = leftovers(client.paths)
    if left:
        raise TransientError(f"left behind: {'; '.join(left)}")
