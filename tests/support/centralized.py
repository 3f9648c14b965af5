"""A cluster with a control plane on paper: API server, cloud, pools and agents on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from terway.agent.instance import Place
from terway.agent.leave_supply import leave_supply
from terway.agent.pool import PoolService
from terway.agent.pool_calls import Ports
from terway.agent.pool_settings import InstanceFacts, pool_config
from terway.agent.supply import KeptRound, Supply
from terway.agent.supply_link import SupplyLink
from terway.agent.supply_open import read_allowance
from terway.agent.supply_spec import supplied, wanted_spec
from terway.config.eni_conf import read_eni_conf
from terway.controlplane.budget import CallBudget
from terway.controlplane.counted import Counted
from terway.controlplane.informers import SharedInformers
from terway.controlplane.install import read_definitions
from terway.controlplane.manager import run_controllers
from terway.controlplane.pools.gone import Gone
from terway.controlplane.pools.nodes import NodeController
from terway.controlplane.pools.readings import SharedReadings
from terway.controlplane.pools.rounds import Outside, PoolController
from terway.controlplane.pools.settings import Surroundings
from terway.kube.crds import GROUP, NETWORK_INTERFACES, NODE_RUNTIMES, POOL_NODES
from terway.kube.resource import NODES, PODS
from terway.lab.cloud import provision
from terway.lab.cloud.inprocess import inprocess_ecs_client
from terway.lab.kubeapi.inprocess import InProcessKube
from terway.lab.kubeapi.state import ClusterState
from terway.lab.kubeapi.store import Key
from terway.model.attachment import Attachment, PodRef
from terway.model.ids import InstanceId, NodeName, RegionId
from terway.model.interface import Mode
from terway.store.memory import Disk, MemoryStore
from tests.support.cloud_world import START, ZONE
from tests.support.emulated_pool import TYPE, LoopTimeCloud
from tests.support.pool_world import EmptyConntrack, owner
from tests.support.virtual_time import virtual_clock

CLUSTER = "c0ffee"


async def at_once(call, argument):
    call(argument)


def wall_clock() -> float:
    return START + virtual_clock()


class Cluster:
    """The cloud and the API server, which outlive every process."""

    def __init__(self, **options: Any) -> None:
        self.cloud = LoopTimeCloud(**options)
        self.state = ClusterState(clock=wall_clock, rng=Random(1))
        self.client = inprocess_ecs_client(self.cloud, sleep=asyncio.sleep)  # type: ignore[arg-type]
        for definition in read_definitions():
            row = self.state.table.of_kind("apiextensions.k8s.io/v1", "CustomResourceDefinition")
            assert row is not None
            self.state.create(row, definition)
        self.pods = 0

    def kube(self, **options: Any) -> InProcessKube:
        """Return a connection of its own."""
        return InProcessKube(self.state, delay_s=0.003, **options)

    def row(self, resource):
        return self.state.table.at(resource.group, resource.version, resource.plural)

    def objects(self, resource):
        return self.state.list(self.row(resource))

    def find(self, resource, name):
        return self.state.find(self.row(resource), name)

    def add_node(self, name: str = "node-1", instance_id: str | None = None) -> InstanceId:
        """Register an instance as a node; without one, a new one."""
        found = instance_id or self.run_instance(name)
        labels = {
            "topology.kubernetes.io/zone": ZONE,
            "topology.kubernetes.io/region": "cn-hangzhou",
            "node.kubernetes.io/instance-type": TYPE,
        }
        body = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": labels},
            "spec": {"providerID": f"cn-hangzhou.{found}"},
        }
        self.state.create(self.row(NODES), body)
        return InstanceId(found)

    def run_instance(self, name: str) -> str:
        at = self.cloud.at
        return provision.run_instance(
            self.cloud.cloud,
            instance_type=TYPE,
            vswitch_id=at.node_vswitch,
            security_group_ids=[at.group],
            name=name,
        ).id

    def schedule(self, node: str, count: int = 1, **annotations: str) -> list[PodRef]:
        """Put pods on a node, as the scheduler does."""
        return [self._schedule(node, annotations) for _ in range(count)]

    def _schedule(self, node: str, annotations: dict[str, str]) -> PodRef:
        self.pods += 1
        name = f"pod-{self.pods}"
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": "default",
                "uid": f"uid-{self.pods}",
                "creationTimestamp": self.state.now_text(),
                "annotations": annotations,
            },
            "spec": {"nodeName": node, "containers": [{"name": "a", "image": "i"}]},
            "status": {"phase": "Pending"},
        }
        self.state.store.put(self.row(PODS), body)
        return PodRef(namespace="default", name=name, uid=f"uid-{self.pods}")

    def remove(self, pod: PodRef) -> None:
        """Take a pod's object away."""
        self.state.store.remove(self.row(PODS), Key(pod.namespace, pod.name))

    def bind_whole(self, name: str, node: str = "node-1") -> None:
        """Wish to have an ENI of a single pod on a node, as its PodENI does."""
        body = {
            "apiVersion": f"{GROUP}/v1beta1",
            "kind": "NetworkInterface",
            "metadata": {"name": name},
            "status": {"phase": "Binding", "nodeName": node},
        }
        self.state.store.put(self.row(NETWORK_INTERFACES), body)

    def delete(self, resource, name: str) -> None:
        """Delete an object of the cluster."""
        self.state.delete(self.row(resource), name)

    def node_capacity(self, name: str = "node-1") -> dict[str, str]:
        found: dict[str, str] = self.find(NODES, name).get("status", {}).get("capacity", {})
        return found

    def release_instance(self, instance_id: str) -> None:
        """End an instance, as an autoscaler does; ENIs that are to stay are detached."""
        at = self.cloud.at
        at.call("StopInstance", InstanceId=instance_id, ForceStop="true")
        at.pass_time(0.0)
        answer = at.call("DeleteInstance", InstanceId=instance_id, Force="true")
        assert "Code" not in answer, answer

    def status(self, node: str = "node-1") -> dict[str, Any]:
        found = self.find(POOL_NODES, node)
        return found.get("status", {}) if found else {}

    def runtime(self, node: str = "node-1") -> dict[str, Any]:
        found = self.find(NODE_RUNTIMES, node)
        return found.get("status", {}) if found else {}

    def addresses(self, node: str = "node-1", status: str = "Valid") -> set[str]:
        """Return the addresses that the node's resource shows."""
        return {
            ip
            for eni in self.status(node).get("networkInterfaces", {}).values()
            for ip, one in eni.get("ipv4", {}).items()
            if one["status"] == status
        }


@asynccontextmanager
async def control_plane(
    cluster: Cluster,
    *,
    seed: str = "1",
    kube: InProcessKube | None = None,
    counted: Counted | None = None,
    **around: Any,
) -> AsyncIterator[PoolController]:
    """Run the controllers of pools for the time of the block."""
    kube = kube or cluster.kube()
    budget = CallBudget(clock=virtual_clock)
    informers = SharedInformers(kube, rng=Random(seed))  # type: ignore[arg-type]
    readings = SharedReadings(cluster.client, budget, clock=virtual_clock)
    outside = Outside(
        kube=kube,
        cloud=cluster.client,
        readings=readings,
        budget=budget,
        clock=virtual_clock,
        wall_clock=wall_clock,
        counted=counted or Counted(),
    )
    surroundings = Surroundings(cluster_id=CLUSTER, token_seed=seed, **around)
    pools = PoolController(outside, informers, around=lambda: surroundings)
    gone = Gone(
        kube,
        cluster.client,
        readings,
        budget,
        cluster_id=CLUSTER,
        owned=lambda: (),
        instances=lambda: (),
        wall_clock=wall_clock,
    )
    nodes = NodeController(kube, cluster.client, budget, informers, gone=gone)
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(informers.run()),
            tasks.create_task(readings.run()),
            tasks.create_task(run_controllers((nodes, pools), informers, rng=Random(seed))),
        ]
        try:
            yield pools
        finally:
            for one in running:
                one.cancel()


class Agent:
    """A node's agent, its disk, and its lives."""

    def __init__(
        self, cluster: Cluster, folder: Path, instance_id: InstanceId, name: str = "node-1", **conf
    ) -> None:
        self.cluster = cluster
        self.name = NodeName(name)
        self.disk = Disk()
        self.file = folder / f"{name}.json"
        self.instance_id = instance_id
        self.starts = 0
        self.conf = {
            "max_pool_size": 5,
            "vswitches": {ZONE: [cluster.cloud.at.pod_vswitch]},
            **conf,
        }

    @asynccontextmanager
    async def running(
        self, *, is_supplied: bool = True, kube: InProcessKube | None = None
    ) -> AsyncIterator[PoolService]:
        """Run the agent for the time of the block: supplied, or by itself."""
        self.starts += 1
        kube = kube or self.cluster.kube()
        conf, _ = read_eni_conf(self.conf)
        at = self.cluster.cloud.at
        place = Place(
            instance_id=self.instance_id,
            instance_type=TYPE,
            region_id=RegionId("cn-hangzhou"),
            zone_id=ZONE,
            vswitch_id=at.node_vswitch,
        )
        if is_supplied:
            limits = (await read_allowance(kube, self.name, place, None)).limits  # type: ignore[arg-type]
        else:
            await leave_supply(kube, self.name, KeptRound(self.file, elsewhere=at_once))  # type: ignore[arg-type]
            (limits,) = await self.cluster.client.describe_instance_types((TYPE,))
        facts = InstanceFacts(
            instance_id=self.instance_id,
            zone_id=ZONE,
            vswitch_id=at.node_vswitch,
            security_group_ids=() if is_supplied else (at.group,),
            limits=limits,
        )
        config = pool_config(conf, facts, token_seed=f"boot{self.starts}")
        kept = KeptRound(self.file, elsewhere=at_once)
        supply = Supply(kept, clock=virtual_clock)
        ports = Ports(
            cloud=supply if is_supplied else self.cluster.client,
            store=MemoryStore(self.disk),
            links=self.cluster.cloud,
            conntrack=EmptyConntrack(),
        )
        service = PoolService(
            supplied(config) if is_supplied else config,
            ports,
            clock=virtual_clock,
            wall_clock=virtual_clock,
        )
        link = SupplyLink(
            kube,  # type: ignore[arg-type]
            self.name,
            supply=supply,
            kept=kept,
            wanted=lambda: wanted_spec(conf, config, limits, Mode.VETH),
            clock=wall_clock,
            rng=Random(7),
        )
        service.on_change = link.changed.set
        await service.restore()
        async with asyncio.TaskGroup() as tasks:
            loops = [tasks.create_task(service.run())]
            if is_supplied:
                loops.append(tasks.create_task(link.run(service)))
            try:
                yield service
            finally:
                for loop in loops:
                    loop.cancel()

    @asynccontextmanager
    async def running_later(
        self, **options: Any
    ) -> AsyncIterator[Callable[[], Awaitable[PoolService]]]:
        """Run the agent for the time of the block, from when the function is called."""
        async with AsyncExitStack() as stack:

            async def start() -> PoolService:
                return await stack.enter_async_context(self.running(**options))

            yield start


async def add(service: PoolService, pod: PodRef) -> Attachment:
    """Make the ADD of a pod."""
    number = int(pod.name.partition("-")[2])
    async with asyncio.timeout(110):
        return await service.acquire(owner(number), network="terway", netns="/n", pod=pod)


async def delete(service: PoolService, pod: PodRef) -> None:
    await service.release(owner(int(pod.name.partition("-")[2])))


async def eventually(true, *, within_s: float = 120.0) -> None:
    """Return when `true()`, looked at as virtual time passes."""
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - nothing here takes real time
            await asyncio.sleep(0.1)
