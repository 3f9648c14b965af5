"""A cluster with nodes in an emulated cloud, and the controllers of pods' ENIs over both.

Everything happens in rounds that the test asks for: copies of the API are read anew, each
controller looks at each of its keys, and the cloud's clock moves by a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from terway.config.eni_conf import EniConf
from terway.controlplane.controller import Controller
from terway.controlplane.counted import Counted
from terway.controlplane.install import install_definitions, read_definitions
from terway.controlplane.podenis.admission import Admission
from terway.controlplane.podenis.calls import Calls
from terway.controlplane.podenis.doing import Doer
from terway.controlplane.podenis.eni import ENIController
from terway.controlplane.podenis.explaining import Explainer
from terway.controlplane.podenis.lookout import Lookout
from terway.controlplane.podenis.making import Maker, Making
from terway.controlplane.podenis.missed import Missed
from terway.controlplane.podenis.pod import PodController
from terway.controlplane.podenis.pod_eni import PodENIController
from terway.controlplane.podenis.pod_networking import PodNetworkingController
from terway.controlplane.podenis.remains import Remains
from terway.controlplane.podenis.restoring import Restorer
from terway.controlplane.podenis.room import Room
from terway.controlplane.podenis.security_groups import SecurityGroups
from terway.controlplane.podenis.strays import Strays
from terway.controlplane.podenis.sweep import Sweep
from terway.controlplane.podenis.telling import Teller
from terway.controlplane.podenis.vswitches import VSwitches
from terway.controlplane.podenis.world import ClusterWorld
from terway.controlplane.podenis.writes import Writes
from terway.controlplane.watched import WATCHED_PODS
from terway.kube.client import KubeClient
from terway.kube.crds import (
    NETWORK_INTERFACES,
    POD_ENIS,
    POD_NETWORKINGS,
    NetworkInterface,
    PodENI,
)
from terway.kube.resource import NODES, PODS, ObjectKey, Resource, key_of
from terway.kube.types import ObjectReference
from terway.lab.cloud import provision
from terway.lab.cloud.inprocess import inprocess_ecs_client
from terway.model.address import IPStack
from terway.model.errors import VpcError
from terway.podeni.settings import Settings
from tests.support.cloud_world import ZONE, CloudWorld, make_world
from tests.support.cluster import make_cluster
from tests.support.kube_server import open_client

RAW_PODS = PODS.typed(dict[str, Any])
CLUSTER = "c1"
PREFIX = "k8s.aliyun.com/"


class Copy:
    """What an informer shows, as it was read last."""

    def __init__(self) -> None:
        self.objects: dict[ObjectKey, Any] = {}

    def get(self, name: str, *, namespace: str = "") -> Any:
        return self.objects.get(ObjectKey(namespace=namespace, name=name))


class Copies:
    """Informers that are read when the test says so."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._known: dict[Resource[Any], Copy] = {}

    def of(self, resource: Resource[Any]) -> Any:
        return self._known.setdefault(resource, Copy())

    async def read(self) -> None:
        for resource, copy in self._known.items():
            listing = await self._client.list(resource)
            copy.objects = {key_of(one): one for one in listing.items}


@dataclass
class Told:
    """Events, by what they say."""

    said: list[tuple[str, str, str]] = field(default_factory=list)

    def record(self, target: ObjectReference, type_: str, reason: str, message: str) -> None:
        self.said.append((target.kind, reason, message))

    def reasons(self, kind: str) -> list[str]:
        return [reason for target, reason, _ in self.said if target == kind]


class FreeTurns:
    """A budget that never says wait; `taken` are the actions that were called."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    async def take(self, action: str, *, who: str, newest: float = 0.0) -> None:
        self.taken.append(action)

    def answered(self, action: str) -> None: ...

    def throttled(self, action: str, retry_after_s: float) -> None: ...


def make_controllers(
    client: Any,
    informers: Any,
    calls: Calls,
    *,
    lookout: Lookout,
    teller: Teller,
    vswitches: VSwitches,
    world: ClusterWorld,
    settings: Callable[[], Settings],
    clock: Callable[[], float],
    monotonic: Callable[[], float],
    counted: Counted | None = None,
    began: float = 0.0,
) -> tuple[Controller, ...]:
    """Make the controllers of pods' ENIs. `began`: pods from before may have any already."""
    writes = Writes(client, clock=clock)
    room = Room(informers, vswitches, clock=monotonic)
    maker = Maker(calls, writes, vswitches, Making(cluster_id=CLUSTER, ip_stack=IPStack.DUAL))
    missed = Missed(client, world, teller, settings=settings, clock=clock)
    remains = Remains(informers, calls, cluster_id=CLUSTER, clock=clock)
    explainer = Explainer(world, informers)
    doer = Doer(client, maker, writes, lookout, teller, explainer=explainer)
    return (
        PodController(
            client,
            informers,
            world,
            teller,
            missed=missed,
            restorer=Restorer(client, calls, maker, writes, teller, remains=remains, began=began),
            settings=settings,
        ),
        PodENIController(
            client, informers, doer, writes, teller, room=room, clock=clock, settings=settings
        ),
        ENIController(
            client,
            informers,
            calls,
            lookout,
            teller,
            room=room,
            explainer=explainer,
            clock=monotonic,
            counted=counted,
        ),
        PodNetworkingController(
            client,
            informers,
            vswitches,
            SecurityGroups(calls, clock=monotonic, ttl_s=1200.0),
            teller,
            clock=clock,
        ),
    )


@dataclass
class PodENICluster:
    """The whole of it."""

    client: KubeClient
    cloud: CloudWorld
    copies: Any
    told: Told
    turns: FreeTurns
    instances: dict[str, provision.Instance]
    trunks: dict[str, str]
    settings: Settings = field(default_factory=Settings)
    conf: EniConf | None = None
    controllers: tuple[Controller, ...] = ()
    errors: list[VpcError] = field(default_factory=list)
    sweep: Sweep | None = None
    admission: Admission | None = None
    dies_each_round: bool = False
    edges: tuple[Lookout, Calls] | None = None
    counted: Counted = field(default_factory=Counted)

    def build(self) -> None:
        """Make the controllers, as those of a control plane that has just started."""
        assert self.edges is not None
        lookout, calls = self.edges
        clock, teller = self.cloud.clock, Teller(self.told)
        vswitches = VSwitches(calls, clock=clock, ttl_s=1200.0)
        world = ClusterWorld(self.copies, lambda: self.conf, vswitches.zones)
        self.controllers = make_controllers(
            self.client,
            self.copies,
            calls,
            lookout=lookout,
            teller=teller,
            vswitches=vswitches,
            world=world,
            settings=lambda: self.settings,
            clock=clock,
            monotonic=clock,
            counted=self.counted,
        )
        strays = Strays(self.client, self.copies, calls, teller)
        self.sweep = Sweep(self.copies, calls, strays, cluster_id=CLUSTER, clock=clock)
        self.admission = Admission(self.copies, world, lambda: self.settings)

    async def round(self) -> bool:
        """Let each controller look at each of its keys once; return whether anything happened."""
        before = await self._state()
        if self.dies_each_round:
            self.build()
        for controller in self.controllers:
            await self.copies.read()
            for key in self._keys(controller):
                try:
                    await controller.reconcile(key)
                except VpcError as error:
                    self.errors.append(error)
        self.cloud.pass_time(1.0)
        return await self._state() != before

    def _keys(self, controller: Controller) -> list[ObjectKey]:
        kinds: dict[str, Resource[Any]] = {
            "pod": WATCHED_PODS,
            "pod-eni": POD_ENIS,
            "eni": NETWORK_INTERFACES,
            "pod-networking": POD_NETWORKINGS,
        }
        return sorted(self.copies.of(kinds[controller.name]).objects)

    async def _state(self) -> object:
        kinds: tuple[Resource[Any], ...] = (POD_ENIS, NETWORK_INTERFACES, PODS, POD_NETWORKINGS)
        kube = [
            (key_of(one), one.metadata.resource_version)
            for resource in kinds
            for one in (await self.client.list(resource)).items
        ]
        return kube, self.eni_states()

    def eni_states(self) -> list[tuple[str, str]]:
        # Not by a call, which would meet the faults that are meant for others.
        enis = self.cloud.cloud.world.state.enis.values()
        return [(one.id, one.status.value) for one in enis]

    async def settle(self, limit: int = 60) -> None:
        """Run rounds until nothing happens any more."""
        quiet = 0
        for _ in range(limit):
            quiet = 0 if await self.round() else quiet + 1
            if quiet == 3:
                return
        raise AssertionError(f"it does not come to rest: {self.errors[-3:]}")

    async def until(self, holds: Callable[[], Any], limit: int = 60) -> None:
        """Run rounds until `holds` does."""
        for _ in range(limit):
            if await holds():
                return
            await self.round()
        raise AssertionError("it never came to hold")

    async def make_pod(
        self,
        name: str,
        node: str = "",
        *,
        owner: str = "StatefulSet",
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        is_admitted: bool = True,
        **spec: Any,
    ) -> dict[str, Any]:
        """Create a pod, through our admission if it is there."""
        owners = [
            {"apiVersion": "apps/v1", "kind": owner, "name": "o", "uid": "u", "controller": True}
        ]
        pod: dict[str, Any] = {
            "metadata": {
                "name": name,
                "namespace": "default",
                "labels": dict(labels or {}),
                "annotations": dict(annotations or {}),
                "ownerReferences": owners if owner else [],
            },
            "spec": {"containers": [{"name": "c", "image": "busybox"}], **spec},
        }
        if is_admitted:
            await self.copies.read()
            assert self.admission is not None
            pod = apply(pod, self.admission.admit_pod(pod, "default").patch)
        if node:
            pod["spec"]["nodeName"] = node
        return await self.client.create(RAW_PODS, pod)

    async def delete_pod(self, name: str) -> None:
        await self.client.delete(PODS, name, namespace="default", grace_s=0)

    async def record(self, name: str) -> PodENI | None:
        return await self.client.get(POD_ENIS, name, namespace="default")

    async def interfaces(self) -> tuple[NetworkInterface, ...]:
        return (await self.client.list(NETWORK_INTERFACES)).items

    def our_enis(self) -> list[dict[str, Any]]:
        """Return the ENIs that were made for pods."""
        page = self.cloud.call("DescribeNetworkInterfaces")["NetworkInterfaceSets"]
        return [
            one
            for one in page["NetworkInterfaceSet"]
            if {"TagKey": "creator", "TagValue": "terway-controller"} in one["Tags"]["Tag"]
        ]


def apply(pod: dict[str, Any], patch: list[dict[str, Any]]) -> dict[str, Any]:
    """Apply the adds of a JSON patch, which are all that admission makes."""
    for one in patch:
        *path, last = one["path"].strip("/").split("/")
        place: Any = pod
        for part in path:
            place = place[int(part)] if isinstance(place, list) else place[part]
        place[last] = one["value"]
    return pod


async def _add_node(
    client: KubeClient,
    name: str,
    instance: provision.Instance,
    zone: str,
    trunk: str,
    **labels: str,
) -> None:
    annotations = {f"{PREFIX}trunk-on": trunk} if trunk else {}
    await client.create(
        NODES.typed(dict[str, Any]),
        {
            "metadata": {
                "name": name,
                "labels": {"topology.kubernetes.io/zone": zone, **labels},
                "annotations": annotations,
            },
            "spec": {"providerID": f"cn-hangzhou.{instance.id}"},
        },
    )


@asynccontextmanager
async def open_pod_eni_cluster(folder: Path) -> AsyncIterator[PodENICluster]:
    """Give a cluster of two nodes with trunks, n1 and n2, and x1, whose ENIs are whole."""
    cloud = make_world(instance_type="ecs.g7.2xlarge")
    async with open_client(make_cluster(), folder) as client:
        await install_definitions(client, read_definitions())
        instances, trunks = {"n1": cloud.instance}, {}
        for name in ("n2", "x1"):
            instances[name] = provision.run_instance(
                cloud.cloud,
                instance_type="ecs.g7.2xlarge",
                vswitch_id=cloud.node_vswitch,
                security_group_ids=[cloud.group],
                name=name,
            )
        cloud.pass_time()
        for name, instance in instances.items():
            if name != "x1":
                trunks[name] = cloud.create_eni(InstanceType="Trunk")
                cloud.call(
                    "AttachNetworkInterface",
                    NetworkInterfaceId=trunks[name],
                    InstanceId=instance.id,
                )
            whole = {f"{PREFIX}exclusive-mode-eni-type": "eniOnly"} if name == "x1" else {}
            await _add_node(client, name, instance, ZONE, trunks.get(name, ""), **whole)
        cloud.pass_time()
        cluster = PodENICluster(
            client=client,
            cloud=cloud,
            copies=Copies(client),
            told=Told(),
            turns=FreeTurns(),
            instances=instances,
            trunks=trunks,
        )
        calls = Calls(inprocess_ecs_client(cloud.cloud), cluster.turns, clock=cloud.clock)
        lookout = Lookout(calls, soon_s=0.0, later_s=0.0)
        cluster.edges = (lookout, calls)
        cluster.build()
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(lookout.run())
            yield cluster
            looking.cancel()
