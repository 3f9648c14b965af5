"""What is a control plane good for? Addresses that stay, groups of one's own, no lost request.

A StatefulSet's pod is moved to another node and keeps address, MAC and ENI; a pod has a security
group that lets in one port; a Deployment behind a load balancer is replaced under load.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import msgspec

from terway.cloud.credentials import Credentials, StaticCredentials
from terway.cloud.ecs import ECS_VERSION
from terway.cloud.openapi import OpenAPI, Product, open_session
from terway.kube.client import KubeClient
from terway.kube.connection import Connection
from terway.kube.crds import POD_ENIS, POD_NETWORKINGS, PodENI, PodNetworking
from terway.kube.resource import NODES, PODS, ObjectKey, Resource
from terway.kube.types import Pod
from terway.lab.demo.measure import Json, pod_place, ready_pods, tool_at
from terway.lab.demo.outside import OutsideHost, answer_of, outside_host
from terway.lab.demo.screen import Screen, Step
from terway.lab.demo.summary import align
from terway.lab.world.client import LabClient
from terway.lab.world.plan import LabPlan
from terway.lab.world.waiting import wait_until
from terway.model.address import Family
from terway.model.errors import TransientError

NAMESPACE = "shop"
_OPEN_PORT = 8080  # what the vault's group lets in; its other ports are closed
_PODS_S = 180.0
_ANSWERED_S = 30.0
_DROPPED_S = 1.5
_GROUP = "vault"
_WORKLOADS = "# --- and those that they select\n"

_DEPLOYMENTS: Resource[dict[str, Any]] = Resource(
    group="apps",
    version="v1",
    plural="deployments",
    kind="Deployment",
    namespaced=True,
    read_as=dict[str, Any],
)
_SERVICES: Resource[dict[str, Any]] = Resource(
    group="",
    version="v1",
    plural="services",
    kind="Service",
    namespaced=True,
    read_as=dict[str, Any],
)


class _NewGroup(msgspec.Struct, rename="pascal"):
    security_group_id: str


class _Done(msgspec.Struct):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a pod with a fixed address has."""

    pod: str
    node: str
    address: str
    mac: str
    eni: str


def show_managed(plan: LabPlan, client: LabClient, screen: Screen) -> None:
    """Show all three. Raises TransientError where one does not do what is promised."""
    screen.title("Fixed address: a StatefulSet's pod moves to another node")
    with screen.step("pods with ENIs of their own") as step:
        asyncio.run(_apply(plan, client, step))
    with screen.step("moving db-0") as step:
        before, after = asyncio.run(_move(client, step))
    screen.lines(["", *moved_table(before, after)])
    screen.title(f"A security group of its own: the vault lets in port {_OPEN_PORT}")
    with screen.step("trying both ports of the vault") as step:
        rows = list(_try_vault(client.status(), client, step))
    screen.lines(["", *align([("FROM", "TO", "PORT", "SECURITY GROUP", "PACKETS"), *rows])])
    screen.title("Behind a load balancer: six pods are replaced under load")
    with screen.step("rolling update") as step, outside_host(client) as outside:
        found = _roll(client, outside, step)
    if found["lost"]:
        raise TransientError(f"the rolling update lost {found['lost']} requests: {found}")
    said = f"{found['answered']} requests, {found['lost']} lost, {found['servers']} pods answered"
    screen.lines(["", f"{said} at {found['address']}"])


async def _apply(plan: LabPlan, client: LabClient, step: Step) -> None:
    step.note("a security group, made by the cloud's API")
    group = await _make_group(plan, client)
    text = files("terway.lab.demo").joinpath("managed.yaml").read_text().replace("{group}", group)
    # Networks first: a pod is asked about only once the network that selects it is Ready.
    networks, workloads = text.split(_WORKLOADS)
    client.request("POST", "/apply", networks)
    async with _kube(client) as kube:
        await wait_until(
            kube, POD_NETWORKINGS, _unready_network, timeout_s=_PODS_S, progress=step.note
        )
    client.request("POST", "/apply", workloads)
    wanted = {"db-": 2, "vault": 1, "api-": 6}

    def trouble(pods: Mapping[ObjectKey, Pod]) -> str:
        ready = {name: _count(pods, name) for name in wanted}
        missing = [f"{name} {ready[name]} of {wanted[name]}" for name in wanted]
        return "" if ready == wanted else f"Ready: {', '.join(missing)}"

    async with _kube(client) as kube:
        await wait_until(
            kube, PODS, trouble, timeout_s=_PODS_S, namespace=NAMESPACE, progress=step.note
        )


def _unready_network(found: Mapping[ObjectKey, PodNetworking]) -> str:
    missing = [key.name for key, one in found.items() if one.status.status != "Ready"]
    return f"PodNetworkings not Ready: {', '.join(missing)}" if missing or not found else ""


async def _make_group(plan: LabPlan, client: LabClient) -> str:
    """Make a security group that lets one port in, as its users do: at the cloud's API."""
    status = client.status()
    ends = status["endpoints"]
    keys = Credentials(
        access_key_id=ends["access_key_id"], access_key_secret=ends["access_key_secret"]
    )
    ecs = Product(endpoint=ends["openapi"], version=ECS_VERSION)
    region = {"RegionId": plan.region_id}
    async with open_session() as session:
        openapi = OpenAPI(session, StaticCredentials(keys))
        named = {**region, "VpcId": status["vpc"]["id"], "SecurityGroupName": _GROUP}
        made = await openapi.call(ecs, "CreateSecurityGroup", named, _NewGroup)
        sources = {"SourceCidrIp": status["vpc"]["cidr"]}
        if Family.V6 in plan.stack.families:
            sources["Ipv6SourceCidrIp"] = status["vpc"]["ipv6_cidr"]
        for name, cidr in sources.items():
            rule = {"IpProtocol": "TCP", "PortRange": f"{_OPEN_PORT}/{_OPEN_PORT}", name: cidr}
            group = {**region, "SecurityGroupId": made.security_group_id}
            await openapi.call(ecs, "AuthorizeSecurityGroup", {**group, **rule}, _Done)
    return made.security_group_id


async def _move(client: LabClient, step: Step) -> tuple[Held, Held]:
    """Move db-0 off its node, as a drain does; return what it had and has."""
    async with _kube(client) as kube:
        before = await _held(kube, "db-0")
        cordon = {"spec": {"unschedulable": True}}
        await kube.patch(NODES, before.node, cordon)
        try:
            await kube.delete(PODS, "db-0", namespace=NAMESPACE)
            began = time.monotonic()

            def trouble(pods: Mapping[ObjectKey, Pod]) -> str:
                pod = pods.get(ObjectKey(namespace=NAMESPACE, name="db-0"))
                if pod is None or pod.spec.node_name in ("", before.node):
                    return "no pod yet"
                return "" if _is_ready(pod) else f"on {pod.spec.node_name}, not Ready yet"

            await wait_until(
                kube, PODS, trouble, timeout_s=_PODS_S, namespace=NAMESPACE, progress=step.note
            )
            step.note(f"Ready after {time.monotonic() - began:.1f} s")
        finally:
            await kube.patch(NODES, before.node, {"spec": {"unschedulable": None}})
        after = await _held(kube, "db-0")
    if (before.address, before.mac, before.eni) != (after.address, after.mac, after.eni):
        raise TransientError(f"db-0 had {before} and has {after}")
    return before, after


async def _held(kube: KubeClient, name: str) -> Held:
    pod = await kube.get(PODS, name, namespace=NAMESPACE)
    record: PodENI | None = await kube.get(POD_ENIS, name, namespace=NAMESPACE)
    if pod is None or record is None:
        raise TransientError(f"{name} has no {'pod' if pod is None else 'PodENI'}")
    [allocation] = record.spec.allocations
    return Held(
        pod=name,
        node=pod.spec.node_name,
        address=pod.status.pod_ip,
        mac=allocation.eni.mac,
        eni=allocation.eni.id,
    )


def moved_table(before: Held, after: Held) -> list[str]:
    """Return a row for each of the two moments. Pure."""
    rows = [("", "NODE", "ADDRESS", "MAC", "ENI")]
    for when, one in (("before", before), ("after", after)):
        rows.append((when, one.node, one.address, one.mac, one.eni))
    return align(rows)


def _try_vault(status: Json, client: LabClient, step: Step) -> Iterator[Sequence[str]]:
    """Yield what comes of connections from another node: on its own, the vault's is not asked."""
    [vault] = map(pod_place, ready_pods(status, "vault"))
    source = next(
        one for one in map(pod_place, ready_pods(status, "web-")) if one.node != vault.node
    )
    address = vault.address(Family.V4) or ""
    for tool, port, is_open in (("whoami", _OPEN_PORT, True), ("rtt", 7000, False)):
        step.note(f"port {port}")
        words = [*tool_at(source, client.words), tool, address]
        within_s = _ANSWERED_S if is_open else _DROPPED_S
        was_answered = answer_of(words, within_s=within_s) is not None
        if was_answered is not is_open:
            raise TransientError(f"port {port} of the vault: answered is {was_answered}")
        word = "answered" if was_answered else "dropped"
        yield source.target.partition("/")[2], "vault", str(port), _GROUP, word


def _roll(client: LabClient, outside: OutsideHost, step: Step) -> dict[str, Any]:
    """Replace all pods of the Deployment while a host outside makes requests."""
    address = asyncio.run(_address(client, step))
    with _load(outside, address) as finish:
        asyncio.run(_restart(client, step))
        step.note("the last requests")
        return {**finish(), "address": address}


@contextmanager
def _load(outside: OutsideHost, address: str) -> Iterator[Any]:
    """Make requests for the block; give what ends them and returns what came of them."""
    words = outside.tool_words("load", address)
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True) as process:

        def finish() -> Json:
            process.terminate()
            said, _ = process.communicate(timeout=_PODS_S)
            answer: Json = msgspec.json.decode(said)
            return answer

        try:
            assert process.stderr is not None
            process.stderr.readline()  # it has begun
            yield finish
        finally:
            process.kill()


async def _address(client: LabClient, step: Step) -> str:
    """Return the Service's address, once it has one."""

    def trouble(services: Mapping[ObjectKey, dict[str, Any]]) -> str:
        return "" if _ingress(services) else "no address of a load balancer yet"

    async with _kube(client) as kube:
        await wait_until(
            kube, _SERVICES, trouble, timeout_s=_PODS_S, namespace=NAMESPACE, progress=step.note
        )
        found = await kube.get(_SERVICES, "api", namespace=NAMESPACE)
    return _ingress({ObjectKey(namespace=NAMESPACE, name="api"): found or {}})


def _ingress(services: Mapping[ObjectKey, dict[str, Any]]) -> str:
    service = services.get(ObjectKey(namespace=NAMESPACE, name="api"), {})
    held = service.get("status", {}).get("loadBalancer", {}).get("ingress") or [{}]
    return str(held[0].get("ip", ""))


async def _restart(client: LabClient, step: Step) -> None:
    """Do what `kubectl rollout restart` does, and return when it is through."""
    stamp = {"kubectl.kubernetes.io/restartedAt": str(time.time())}
    patch = {"spec": {"template": {"metadata": {"annotations": stamp}}}}
    async with _kube(client) as kube:
        made = await kube.patch(_DEPLOYMENTS, "api", patch, namespace=NAMESPACE)
        generation = made["metadata"]["generation"]

        def trouble(found: Mapping[ObjectKey, dict[str, Any]]) -> str:
            status = found[ObjectKey(namespace=NAMESPACE, name="api")].get("status", {})
            wanted = made["spec"]["replicas"]
            new, whole = status.get("updatedReplicas", 0), status.get("replicas", 0)
            ready = status.get("availableReplicas", 0)
            is_seen = status.get("observedGeneration", 0) >= generation
            if is_seen and new == whole == ready == wanted:
                return ""
            return f"{new} of {wanted} pods are new, {ready} take requests"

        await wait_until(
            kube, _DEPLOYMENTS, trouble, timeout_s=_PODS_S, namespace=NAMESPACE, progress=step.note
        )


def _count(pods: Mapping[ObjectKey, Pod], prefix: str) -> int:
    return sum(_is_ready(pod) for key, pod in pods.items() if key.name.startswith(prefix))


def _is_ready(pod: Pod) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions)


def _kube(client: LabClient) -> KubeClient:
    return KubeClient(Connection(server=f"unix://{client.paths.api_socket}"))
