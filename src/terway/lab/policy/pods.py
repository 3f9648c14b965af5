"""Which pods of the lab stand for the pods of a case? Those of earlier cases, where they fit.

A pod's name says nothing to policy. What it does say cannot be changed but for its labels: where it
is, its ports, the network it uses. So a pod that is the same in all of these gets new labels, and
only what is missing is made. Pods of the lab that no case made are left alone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from terway.kube.client import KubeClient
from terway.kube.resource import PODS, ObjectKey
from terway.kube.types import Pod as KubePod
from terway.lab.policy.manifests import MARK
from terway.lab.world.waiting import PATIENCE_S, wait_until
from terway.model.address import IPAddress
from terway.model.errors import ConflictError
from terway.policy.cluster import NamedPort, Pod, PodKey

_LONG_S = 3600  # how long a pod that is to be seen terminating may take
_HAS_ENI = "k8s.aliyun.com/pod-eni"  # what the webhook writes at pods with ENIs of their own
_RAW_PODS = PODS.typed(dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A pod of a case, and its node in the lab."""

    pod: Pod
    node: str
    is_terminating: bool = False
    has_own_eni: bool = False  # said by a PodNetworking, not by the pod


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What of a pod cannot be changed."""

    namespace: str
    node: str
    is_host_network: bool
    ports: tuple[tuple[str, str, int], ...]
    is_finished: bool = False
    is_terminating: bool = False
    has_own_eni: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RealPod:
    """A pod of the lab that stands for one of a case."""

    name: str
    shape: Shape
    addresses: tuple[IPAddress, ...]


def shape_of(wish: Wish) -> Shape:
    """Return what a pod for this wish must be."""
    return Shape(
        namespace=wish.pod.key.namespace,
        node=wish.node,
        is_host_network=wish.pod.is_host_network,
        ports=tuple(sorted(_port(port) for port in wish.pod.ports)),
        is_finished=wish.pod.is_finished,
        is_terminating=wish.is_terminating,
        has_own_eni=wish.has_own_eni and not wish.pod.is_host_network,
    )


class CasePods:
    """The pods of the lab that were made for cases. `max_pods` is how many fit on a node."""

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube
        self.max_pods: Mapping[str, int] = {}
        self._held: dict[PodKey, str] = {}  # the name that a pod of this case has in the lab

    def begin(self) -> None:
        """A new case: its pods may be any."""
        self._held.clear()

    async def make(self, wishes: Iterable[Wish]) -> dict[PodKey, RealPod]:
        """Return the pods for all wishes once they run, with the labels they are to have."""
        wishes = tuple(wishes)
        found = [one for one in (await self._kube.list(_RAW_PODS)).items if _is_ours(one)]
        chosen = self._choose(wishes, found)
        self._held = {key: _name(one) for key, one in chosen.items()}
        missing = [wish for wish in wishes if wish.pod.key not in chosen]
        await self._make_room(missing, found, kept={_uid(one) for one in chosen.values()})
        async with asyncio.TaskGroup() as tasks:
            for wish in wishes:
                if wish.pod.key in chosen:
                    tasks.create_task(self._relabel(chosen[wish.pod.key], wish.pod))
            made = {wish.pod.key: tasks.create_task(self._create(wish)) for wish in missing}
        self._held |= {key: task.result() for key, task in made.items()}
        ready = await self._wait(wishes)
        await self._end_those_that_end(wishes)
        return {
            wish.pod.key: RealPod(
                name=self._held[wish.pod.key],
                shape=shape_of(wish),
                addresses=_addresses(ready[self._object_key(wish.pod.key)]),
            )
            for wish in wishes
        }

    async def remove(self) -> None:
        """Delete all pods that were made for cases."""
        for one in (await self._kube.list(_RAW_PODS)).items:
            if _is_ours(one):
                await self._delete(one)

    def _choose(
        self, wishes: Iterable[Wish], found: Iterable[dict[str, Any]]
    ) -> dict[PodKey, dict[str, Any]]:
        """Return the pods to be used again: the one that a key had before, else any that fits."""
        idle: dict[Shape, list[dict[str, Any]]] = {}
        for one in found:
            idle.setdefault(_shape(one), []).append(one)
        chosen: dict[PodKey, dict[str, Any]] = {}
        for is_held in (True, False):
            for wish in wishes:
                fits = idle.get(shape_of(wish), [])
                held = self._held.get(wish.pod.key)
                same = [one for one in fits if _name(one) == held] if is_held else fits
                if wish.pod.key not in chosen and same and (is_held or _is_lasting(wish)):
                    chosen[wish.pod.key] = same[0]
                    fits.remove(same[0])
        return chosen

    async def _make_room(
        self, missing: Iterable[Wish], found: Iterable[dict[str, Any]], kept: set[str]
    ) -> None:
        """Delete pods that stand for nothing now, where there is no room for new ones."""
        needed = Counter(wish.node for wish in missing if not wish.pod.is_host_network)
        there = Counter(_node(one) for one in found if not _is_host(one))
        going = []
        for one in found:
            node = _node(one)
            is_full = there[node] + needed[node] > self.max_pods.get(node, 0)
            is_left_over = _shape(one).is_terminating or _shape(one).is_finished
            if _uid(one) not in kept and ((is_full and not _is_host(one)) or is_left_over):
                there[node] -= 1
                going.append(one)
        await asyncio.gather(*(self._delete(one) for one in going))

    async def _delete(self, one: Mapping[str, Any]) -> None:
        meta = one["metadata"]
        await self._kube.delete(PODS, meta["name"], namespace=meta["namespace"], grace_s=0)

    async def _relabel(self, one: Mapping[str, Any], pod: Pod) -> None:
        held: dict[str, str] = one["metadata"].get("labels") or {}
        if held == dict(pod.labels):
            return
        labels = {**dict.fromkeys(held), **pod.labels}
        meta = one["metadata"]
        patch = {"metadata": {"labels": labels}}
        await self._kube.patch(PODS, meta["name"], patch, namespace=meta["namespace"])

    async def _create(self, wish: Wish) -> str:
        """Create a pod and return its name."""
        made = await self._kube.create(_RAW_PODS, _manifest(wish), namespace=wish.pod.key.namespace)
        if _shape(made).has_own_eni is not shape_of(wish).has_own_eni:
            text = f"pod {_name(made)} is a member of a trunk, or is none, against what was asked"
            raise ConflictError(f"{text}: look which PodNetworking selects it")
        return _name(made)

    async def _wait(self, wishes: Iterable[Wish]) -> Mapping[ObjectKey, KubePod]:
        """Wait until each pod is as it is to be: Ready, or finished."""
        awaited = {self._object_key(wish.pod.key): wish.pod.is_finished for wish in wishes}

        def trouble(pods: Mapping[ObjectKey, KubePod]) -> str:
            for key, is_finished in awaited.items():
                pod = pods.get(key)
                if pod is None or not _is_as_wished(pod, is_finished=is_finished):
                    return f"pod {key} is {pod.status.phase if pod else 'not there'}"
            return ""

        return await wait_until(self._kube, PODS, trouble, timeout_s=PATIENCE_S)

    async def _end_those_that_end(self, wishes: Iterable[Wish]) -> None:
        for wish in wishes:
            if wish.is_terminating:
                name = self._held[wish.pod.key]
                await self._kube.delete(
                    PODS, name, namespace=wish.pod.key.namespace, grace_s=_LONG_S
                )

    def _object_key(self, key: PodKey) -> ObjectKey:
        return ObjectKey(namespace=key.namespace, name=self._held[key])


def _is_lasting(wish: Wish) -> bool:
    return not (wish.is_terminating or wish.pod.is_finished)


def _is_as_wished(pod: KubePod, *, is_finished: bool) -> bool:
    if is_finished:
        return pod.status.phase == "Succeeded"
    ready = any((one.type, one.status) == ("Ready", "True") for one in pod.status.conditions)
    return ready or pod.metadata.deletion_timestamp is not None


def _manifest(wish: Wish) -> dict[str, Any]:
    pod = wish.pod
    container = {
        "name": "main",
        "image": "terway-lab/toolbox",
        "command": ["/bin/true"] if pod.is_finished else ["/bin/sleep", "infinity"],
        "ports": [
            {"name": name, "protocol": protocol, "containerPort": number}
            for name, protocol, number in sorted(_port(port) for port in pod.ports)
        ],
    }
    return {
        "metadata": {
            "generateName": f"{pod.key.name[:50]}-",
            "namespace": pod.key.namespace,
            "labels": dict(pod.labels),
            "annotations": {MARK: "true"},
        },
        "spec": {
            "nodeName": wish.node,
            "hostNetwork": pod.is_host_network,
            "restartPolicy": "Never" if pod.is_finished else "Always",
            "terminationGracePeriodSeconds": 1,
            "tolerations": [{"operator": "Exists"}],
            "containers": [container],
        },
    }


def _port(port: NamedPort) -> tuple[str, str, int]:
    return port.name, port.protocol.value, port.port


def _shape(one: Mapping[str, Any]) -> Shape:
    spec, meta = one["spec"], one["metadata"]
    held = [port for container in spec["containers"] for port in container.get("ports") or ()]
    return Shape(
        namespace=meta["namespace"],
        node=spec.get("nodeName", ""),
        is_host_network=_is_host(one),
        ports=tuple(
            sorted((port["name"], port["protocol"], port["containerPort"]) for port in held)
        ),
        is_finished=spec.get("restartPolicy") == "Never",
        is_terminating="deletionTimestamp" in meta,
        has_own_eni=(meta.get("annotations") or {}).get(_HAS_ENI) == "true",
    )


def _is_ours(one: Mapping[str, Any]) -> bool:
    return MARK in (one["metadata"].get("annotations") or {})


def _is_host(one: Mapping[str, Any]) -> bool:
    return bool(one["spec"].get("hostNetwork"))


def _node(one: Mapping[str, Any]) -> str:
    return str(one["spec"].get("nodeName", ""))


def _name(one: Mapping[str, Any]) -> str:
    return str(one["metadata"]["name"])


def _uid(one: Mapping[str, Any]) -> str:
    return str(one["metadata"]["uid"])


def _addresses(pod: KubePod) -> tuple[IPAddress, ...]:
    return tuple(ip_address(one.ip) for one in pod.status.pod_ips)
