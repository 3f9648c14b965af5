"""The controller of Services at the emulated cloud and API server, without packets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any

from terway.cloud.inspect import CloudInspector
from terway.cloud.nlb import NlbClient
from terway.cloud.slb import SlbClient
from terway.controlplane.balancers.objects import SERVICES, SLICES
from terway.controlplane.balancers.owners import Owners
from terway.controlplane.balancers.rounds import Products
from terway.controlplane.balancers.service import ServiceController
from terway.controlplane.informers import SharedInformers
from terway.controlplane.install import install_definitions, read_definitions
from terway.controlplane.manager import run_controllers
from terway.kube.client import KubeClient
from terway.kube.resource import PODS
from terway.lab.cloud.balancer_records import HealthSeen
from terway.lab.cloud.inprocess import InProcessCaller, inprocess_source_groups
from terway.lab.world.waiting import PATIENCE_S
from terway.loadbalancer.values import Cluster
from terway.model.ids import RegionId
from tests.support.cloud_world import REGION, ZONE, CloudWorld, make_world
from tests.support.cluster import make_cluster
from tests.support.kube_server import open_client

RAW = SERVICES.typed(dict[str, Any])
RAW_SLICES = SLICES.typed(dict[str, Any])
RAW_PODS = PODS.typed(dict[str, Any])
PREFIX = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-"
INTRANET = {f"{PREFIX}address-type": "intranet"}
GATE = "service.readiness.alibabacloud.com/web"


@dataclass
class Shop:
    """A cluster of one Service, its pods, and the cloud."""

    client: KubeClient
    cloud: CloudWorld
    slb: SlbClient
    nlb: NlbClient
    told: list[tuple[str, str]] = field(default_factory=list)
    controller: ServiceController | None = None

    def record(self, target: object, type_: str, reason: str, message: str) -> None:
        self.told.append((reason, message))

    async def take(self, action: str, *, who: str, newest: float = 0.0) -> None: ...

    async def make_service(self, **spec: Any) -> None:
        annotations = spec.pop("annotations", INTRANET)
        name = spec.pop("name", "web")
        body = {
            "metadata": {"name": name, "namespace": "default", "annotations": annotations},
            "spec": {
                "type": "LoadBalancer",
                "selector": {"app": "web"},
                "allocateLoadBalancerNodePorts": False,
                "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
                **spec,
            },
        }
        await self.client.create(RAW, body)

    async def make_pods(self, *addresses: str, gated: bool = False, **conditions: Any) -> None:
        """Create pods with a slice, as kubelets and the endpoint controller would."""
        for address in addresses:
            name = name_of(address)
            gates = [{"conditionType": GATE}] if gated else []
            body = {
                "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
                "spec": {
                    "containers": [{"name": "c", "image": "busybox"}],
                    "readinessGates": gates,
                },
            }
            made = await self.client.create(RAW_PODS, body)
            ready = [{"type": "ContainersReady", "status": "True"}]
            status = {"conditions": ready, "podIPs": [{"ip": address}], "podIP": address}
            await self.client.patch(
                RAW_PODS, name, {"status": status}, namespace="default", subresource="status"
            )
            uid = made["metadata"]["uid"]
            await self._slice(address, uid, {"ready": not gated, **conditions})

    async def set_conditions(self, address: str, **conditions: Any) -> None:
        found = await self.client.get(RAW_PODS, name_of(address), namespace="default")
        assert found is not None
        await self.client.delete(RAW_SLICES, f"web-{name_of(address)}", namespace="default")
        await self._slice(address, found["metadata"]["uid"], conditions)

    async def _slice(self, address: str, uid: str, conditions: dict[str, Any]) -> None:
        ref = {"kind": "Pod", "name": name_of(address), "namespace": "default", "uid": uid}
        endpoint = {"addresses": [address], "conditions": conditions, "targetRef": ref}
        await self.client.create(
            RAW_SLICES,
            {
                "metadata": {
                    "name": f"web-{name_of(address)}",
                    "namespace": "default",
                    "labels": {"kubernetes.io/service-name": "web"},
                },
                "addressType": "IPv6" if ":" in address else "IPv4",
                "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
                "endpoints": [endpoint],
            },
        )

    async def backends(self) -> dict[str, int]:
        """Return the weight of each backend's address, of all groups."""
        found: dict[str, int] = {}
        for instance in await self.slb.list_instances():
            for group in await self.slb.list_groups(instance.id):
                found |= {str(one.address): one.weight for one in group.backends}
        return found

    async def ingress(self) -> list[dict[str, str]]:
        found = await self.client.get(RAW, "web", namespace="default")
        assert found is not None
        held: list[dict[str, str]] = found["status"].get("loadBalancer", {}).get("ingress", [])
        return held

    async def until(self, holds: Callable[[], Any]) -> Any:
        """Return what `holds` gives once it is true; the controller works meanwhile."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not (found := await holds()):  # noqa: ASYNC110 - the cloud tells nobody
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"it never came to hold; told: {self.told}") from None
        return found

    async def see_healthy(self, address: str) -> None:
        """Have the cloud's health checks say yes, of each CLB."""
        instances = await self.slb.list_instances()
        keys = frozenset((f"{one.id}/tcp/80", ip_address(address), 8080) for one in instances)
        self.cloud.cloud.world.state.balancing.health = HealthSeen(healthy=keys)

    async def gate(self, address: str) -> str:
        """Return the status of a pod's gate; nothing while nobody has said one."""
        pod = await self.client.get(RAW_PODS, name_of(address), namespace="default")
        assert pod is not None
        held: dict[str, str] = {one["type"]: one["status"] for one in pod["status"]["conditions"]}
        return held.get(GATE, "")

    async def tells(self, reason: str) -> str:
        """Return the message of the event with `reason`, once there is one."""

        async def said() -> str:
            return next((text for why, text in self.told if why == reason), "")

        return str(await self.until(said))

    def pod_addresses(self, count: int) -> list[str]:
        eni = self.cloud.create_eni(SecondaryPrivateIpAddressCount=str(count))
        return [str(one) for one in self.cloud.cloud.world.state.enis[eni].ipv4[1:]]


def name_of(address: str) -> str:
    return "p" + address.replace(".", "-").replace(":", "-")


class FreeTurns:
    async def take(self, action: str, *, who: str, newest: float = 0.0) -> None: ...

    def answered(self, action: str) -> None: ...

    def throttled(self, action: str, retry_after_s: float) -> None: ...


@asynccontextmanager
async def open_shop(tmp_path: Path) -> AsyncIterator[Shop]:
    cluster, world = make_cluster(), make_world()
    caller = InProcessCaller(world.cloud)
    region = RegionId(REGION)
    async with open_client(cluster, tmp_path) as client:
        await install_definitions(client, read_definitions())
        yield Shop(
            client,
            world,
            SlbClient(caller, region_id=region, slb_endpoint="inprocess"),
            NlbClient(caller, region_id=region, nlb_endpoint="inprocess"),
        )


@asynccontextmanager
async def running(shop: Shop) -> AsyncIterator[None]:
    """Run the controller, and the cloud's time ten times as fast as ours."""
    informers = SharedInformers(shop.client, rng=Random(1))
    caller = InProcessCaller(shop.cloud.cloud)
    inspector = CloudInspector(
        caller, region_id=RegionId(REGION), ecs_endpoint="inprocess", vpc_endpoint="inprocess"
    )
    cluster = Cluster(
        cluster_id="c1",
        vpc_id=shop.cloud.vpc_id,
        vswitch_id=shop.cloud.pod_vswitch,
        zones=((ZONE, shop.cloud.pod_vswitch),),
    )
    controller = ServiceController(
        shop.client,
        informers,
        Products(slb=shop.slb, nlb=shop.nlb, sources=inprocess_source_groups(shop.cloud.cloud)),
        Owners(informers, inspector, vpc_id=shop.cloud.vpc_id),
        shop,
        cluster=lambda: cluster,
        clock=shop.cloud.clock,
        seed="s",
    )

    async def pass_time() -> None:
        while True:
            await asyncio.sleep(0.01)
            shop.cloud.pass_time(0.1)

    async with asyncio.TaskGroup() as tasks:
        work = run_controllers((controller,), informers, rng=Random(2))
        started = [tasks.create_task(one) for one in (informers.run(), pass_time(), work)]
        yield
        for task in started:
            task.cancel()
