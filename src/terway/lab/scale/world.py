"""The simulated cluster without anybody in it: a cloud and an API server on the loop's clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from ipaddress import IPv4Network
from random import Random
from typing import Any

from terway.cloud.ecs import EcsClient
from terway.controlplane.install import read_definitions
from terway.kube.client import EVERYTHING, Selector
from terway.kube.resource import NODES, PODS, Resource
from terway.kube.watch import Bookmark, WatchEvent
from terway.lab.cloud import provision
from terway.lab.cloud.calls import Calls
from terway.lab.cloud.cloud import Cloud
from terway.lab.cloud.inprocess import inprocess_ecs_client
from terway.lab.cloud.throttle import Throttle
from terway.lab.kubeapi.inprocess import InProcessKube
from terway.lab.kubeapi.resources import CUSTOM_RESOURCE_DEFINITION, ResourceDef
from terway.lab.kubeapi.state import ClusterState
from terway.lab.scale.plan import ScalePlan
from terway.model.errors import BugError
from terway.model.ids import InstanceId, SecurityGroupId, VpcId, VSwitchId, ZoneId

EPOCH_S = 1_790_000_000.0  # what the wall shows when the loop's clock shows 0
REGION, ZONE = "cn-hangzhou", ZoneId("cn-hangzhou-i")
NAMESPACE = "default"
_VPC = IPv4Network("10.0.0.0/8")
_ROOMS = tuple(_VPC.subnets(new_prefix=16))
_ADDRESSES = 60_000  # of a vSwitch: a /16, with room to spare


def wall_clock() -> float:
    """Return seconds since the epoch, as the loop's clock has them."""
    return EPOCH_S + asyncio.get_running_loop().time()


def monotonic() -> float:
    """Return the loop's seconds."""
    return asyncio.get_running_loop().time()


class LaggingKube(InProcessKube):
    """A connection whose watches lag behind by `lag_s`, as those of a real server do."""

    def __init__(self, state: ClusterState, *, delay_s: float, lag_s: float) -> None:
        super().__init__(state, delay_s=delay_s)
        self._lag_s = lag_s

    async def watch(
        self,
        resource: Resource[Any],
        *,
        since: str,
        namespace: str | None = None,
        selector: Selector = EVERYTHING,
        timeout_s: int = 300,
        on_open: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[WatchEvent[Any] | Bookmark, None]:
        """Yield what happens after `since`, each a while later."""
        told_at = float("-inf")
        events = super().watch(
            resource,
            since=since,
            namespace=namespace,
            selector=selector,
            timeout_s=timeout_s,
            on_open=on_open,
        )
        async with aclosing(events):
            async for event in events:
                if monotonic() > told_at:  # what has come meanwhile goes with it
                    await asyncio.sleep(self._lag_s)
                    told_at = monotonic()
                yield event


class ScaleWorld:
    """What outlives every process: the account's cloud, and the cluster's objects.

    `clock`, seconds since the epoch, may be replaced: afterwards the world can be served for real.
    """

    def __init__(self, plan: ScalePlan) -> None:
        self.plan = plan
        self.clock: Callable[[], float] = wall_clock
        # What the lab asks to set the world up is nobody's call: limits come with `limit`.
        self.cloud = Cloud(clock=self._now, seed=plan.seed, delays=plan.delays, rates={})
        self.state = ClusterState(clock=self._now, rng=Random(plan.seed))
        self.vpc_id: VpcId = provision.create_vpc(self.cloud, _VPC, name="scale")
        self.group: SecurityGroupId = provision.create_security_group(
            self.cloud, self.vpc_id, is_enterprise=True
        )
        self._node_rooms = self._make_vswitches(plan.nodes, first=0)
        self.pod_rooms = self._make_vswitches(
            plan.least_enis * plan.addresses_per_eni, first=len(self._node_rooms)
        )
        for definition in read_definitions():
            self.state.create(CUSTOM_RESOURCE_DEFINITION, definition)
        self._made = 0

    def _now(self) -> float:
        return self.clock()

    def _make_vswitches(self, addresses: int, *, first: int) -> list[VSwitchId]:
        count = -(-addresses // _ADDRESSES)
        return [
            provision.create_vswitch(self.cloud, self.vpc_id, room, zone_id=ZONE)
            for room in _ROOMS[first : first + count]
        ]

    def limit(self) -> None:
        """Hold everybody to the call limits from now on, with full buckets and nothing counted."""
        self.cloud.throttle = Throttle(self.plan.call_limits)
        self.cloud.calls = Calls()

    def kube(self) -> InProcessKube:
        """Return a connection of its own to the API server."""
        plan = self.plan
        return LaggingKube(self.state, delay_s=plan.api_delay_s, lag_s=plan.watch_lag_s)

    def ecs(self) -> EcsClient:
        """Return a connection to the cloud."""
        return inprocess_ecs_client(self.cloud, sleep=asyncio.sleep)

    def row(self, resource: Resource[Any]) -> ResourceDef:
        """Return the API server's own word for a kind."""
        found = self.state.table.at(resource.group, resource.version, resource.plural)
        if found is None:
            raise BugError(f"the API server has no {resource.plural}")
        return found

    def add_node(self, name: str) -> InstanceId:
        """Have an instance join as a node."""
        instance = provision.run_instance(
            self.cloud,
            instance_type=self.plan.instance_type,
            vswitch_id=self._node_rooms[0],
            security_group_ids=[self.group],
            name=name,
            ipv6=False,
        )
        self.state.store.put(self.row(NODES), self._node(name, instance))
        return instance.id

    def _node(self, name: str, instance: provision.Instance) -> dict[str, Any]:
        labels = {
            "topology.kubernetes.io/zone": str(ZONE),
            "topology.kubernetes.io/region": REGION,
            "node.kubernetes.io/instance-type": self.plan.instance_type,
            "kubernetes.io/hostname": name,
        }
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "uid": f"node-{name}",
                "labels": labels,
                "creationTimestamp": self.state.now_text(),
            },
            "spec": {"providerID": f"{REGION}.{instance.id}"},
            "status": {
                "addresses": [{"type": "InternalIP", "address": str(instance.ipv4)}],
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
                "capacity": {"cpu": "4", "pods": "110"},
                "allocatable": {"cpu": "4", "pods": "110"},
            },
        }

    def add_pod(self, node: str) -> tuple[str, str]:
        """Put a pod on a node, as the scheduler does; return its name and uid."""
        self._made += 1
        name, uid = f"web-5d8c7f-{self._made:06d}", f"00000000-0000-4000-8000-{self._made:012d}"
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                **_POD_HEAD,
                "name": name,
                "namespace": NAMESPACE,
                "uid": uid,
                "creationTimestamp": self.state.now_text(),
            },
            "spec": {"nodeName": node, **_POD_SPEC},
            "status": {"phase": "Pending", "conditions": _CONDITIONS},
        }
        self.state.store.put(self.row(PODS), body)
        return name, uid

    def run_pod(self, name: str, address: str) -> None:
        """Show a pod as its kubelet does once its sandbox is made."""
        row = self.row(PODS)
        pod = self.state.find(row, name, NAMESPACE)
        if pod is not None:
            shown = {
                "phase": "Running",
                "podIP": address,
                "podIPs": [{"ip": address}],
                "conditions": _CONDITIONS,
            }
            self.state.store.put(row, {**pod, "status": shown})


# What the pods of one deployment share: most of a pod's 4 kB.
_POD_HEAD: dict[str, Any] = {
    "generateName": "web-5d8c7f-",
    "labels": {"app": "web", "pod-template-hash": "5d8c7f", "team": "shop"},
    "ownerReferences": [
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": "web-5d8c7f",
            "uid": "00000000-0000-4000-9000-000000000001",
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ],
    "managedFields": [
        {
            "manager": manager,
            "operation": "Update",
            "apiVersion": "v1",
            "time": "2026-09-21T13:33:20Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {f"f:field{number}": {".": {}, "f:name": {}} for number in range(30)},
        }
        for manager in ("kube-controller-manager", "kubelet")
    ],
}
_POD_SPEC: dict[str, Any] = {
    "containers": [
        {
            "name": name,
            "image": f"registry-vpc.cn-hangzhou.aliyuncs.com/shop/{name}:v1.4.2",
            "env": [{"name": f"SETTING_{one}", "value": "x" * 20} for one in range(12)],
            "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "256Mi"}},
            "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        }
        for name in ("web", "sidecar")
    ],
    "restartPolicy": "Always",
    "schedulerName": "default-scheduler",
    "tolerations": [
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute"}
        for key in ("not-ready", "unreachable")
    ],
}
_CONDITIONS = [
    {"type": kind, "status": "True", "lastTransitionTime": "2026-09-21T13:33:20Z"}
    for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
]
