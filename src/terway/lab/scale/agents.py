"""Who plays the agents of thousands of nodes? What each says to the API server, and no more.

    Node (ours) ──watch──► Valid addresses ──► pods that wait, in their order
                       └─► Deleting, recall: held is said again, what is free is released
    any of it   ──0.2 s──► NodeRuntime: held, released, waiting

Contract and pure parts are the agent's own (agent/supply*.py); pool, journal and kernel are not
here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from terway.agent.pool_settings import InstanceFacts, pool_config
from terway.agent.supply import VALID, recalls_of
from terway.agent.supply_link import GATHER_S
from terway.agent.supply_spec import limits_of, wanted_spec
from terway.config.eni_conf import EniConf, read_eni_conf
from terway.kube.client import PatchType
from terway.kube.crds import NODE_RUNTIMES, POOL_NODES, HeldIP, NodeRuntimeStatus, PoolNode
from terway.kube.watch import EventType, WatchEvent
from terway.lab.kubeapi.inprocess import InProcessKube
from terway.lab.scale.world import NAMESPACE, ZONE, ScaleWorld, monotonic
from terway.model.errors import ConflictError
from terway.model.ids import InstanceId
from terway.model.interface import Mode

_IN_USE = "InUse"
_KUBELET_S = 0.5  # from the scheduler's word to the ADD


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A pod without an address."""

    name: str
    uid: str
    since: float  # when it was scheduled


@dataclass(slots=True, kw_only=True)
class Agent:
    """What one node's agent knows."""

    name: str
    instance_id: InstanceId
    joined_at: float
    node: PoolNode | None = None
    round: int = 0  # of recalls, the last that was answered
    free: dict[str, None] = field(default_factory=dict)
    held: dict[str, HeldIP] = field(default_factory=dict)
    waiting: deque[Waiting] = field(default_factory=deque)
    waits_s: list[float] = field(default_factory=list)  # of pods that have an address
    served_at: float = 0.0  # when nobody waited any more
    said: NodeRuntimeStatus | None = None
    has_asked: bool = False
    is_due: bool = False  # a report is on its way

    @property
    def is_served(self) -> bool:
        """Return whether every pod that came has an address."""
        return bool(self.waits_s) and not self.waiting


class Agents:
    """All agents over one connection. `run()` beside; `all_served` is set when nobody waits."""

    def __init__(self, world: ScaleWorld, kube: InProcessKube) -> None:
        self._world = world
        self._kube = kube
        self._conf = _conf(world)
        self._tasks: asyncio.TaskGroup | None = None
        self.agents: dict[str, Agent] = {}
        self.waiting = 0
        self.all_served = asyncio.Event()

    async def run(self) -> None:
        """Act until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            since = (await self._kube.list(POOL_NODES)).resource_version
            while True:
                async for event in self._kube.watch(POOL_NODES, since=since):
                    if isinstance(event, WatchEvent):
                        self._see(event)
                        since = event.object.metadata.resource_version
                    else:
                        since = event.resource_version

    def join(self, name: str, pods: int) -> None:
        """Have a node join, and pods scheduled to it."""
        now = monotonic()
        instance_id = self._world.add_node(name)
        agent = Agent(name=name, instance_id=instance_id, joined_at=now)
        self.agents[name] = agent
        self.schedule(agent, pods)

    def schedule(self, agent: Agent, pods: int) -> None:
        """Have pods scheduled to a node; their ADDs come a little later."""
        self.all_served.clear()
        self.waiting += pods
        made = [self._world.add_pod(agent.name) for _ in range(pods)]
        now = monotonic()
        wanted = [Waiting(name=name, uid=uid, since=now) for name, uid in made]
        asyncio.get_running_loop().call_later(_KUBELET_S, self._come, agent, wanted)

    def _come(self, agent: Agent, wanted: list[Waiting]) -> None:
        agent.waiting.extend(wanted)
        self._serve(agent)
        self._say_soon(agent)

    def _see(self, event: WatchEvent[Any]) -> None:
        node: PoolNode = event.object
        agent = self.agents.get(node.metadata.name)
        if agent is None or event.type is EventType.DELETED or node.status.round < agent.round:
            return
        agent.node = node
        recalled = {str(one) for one in recalls_of(node)}
        shown = (one for one in node.status.network_interfaces.values() if one.status == _IN_USE)
        valid = (ip for one in shown for ip, its in one.ipv4.items() if its.status == VALID)
        agent.free = {ip: None for ip in valid if ip not in agent.held and ip not in recalled}
        self._serve(agent)
        self._say_soon(agent)

    def _serve(self, agent: Agent) -> None:
        """Give free addresses to those who wait."""
        now = monotonic()
        while agent.free and agent.waiting:
            pod = agent.waiting.popleft()
            address = next(iter(agent.free))
            del agent.free[address]
            agent.held[address] = HeldIP(pod_uid=pod.uid, pod_id=f"{NAMESPACE}/{pod.name}")
            agent.waits_s.append(now - pod.since)
            agent.served_at = now
            self.waiting -= 1
            self._world.run_pod(pod.name, address)
        if not self.waiting:
            self.all_served.set()

    def _say_soon(self, agent: Agent) -> None:
        if not agent.is_due and self._tasks is not None:
            agent.is_due = True
            self._tasks.create_task(self._say(agent), name=f"report {agent.name}")

    async def _say(self, agent: Agent) -> None:
        await asyncio.sleep(GATHER_S)
        agent.is_due = False
        if agent.node is not None and not agent.has_asked:
            await self._ask(agent, agent.node)
        status = self._status(agent)
        if agent.said is not None and msgspec.structs.replace(status, seen=agent.said.seen) == (
            agent.said
        ):
            return
        is_first, agent.said = agent.said is None, status
        await self._write(agent.name, status, is_first=is_first)

    def _status(self, agent: Agent) -> NodeRuntimeStatus:
        node = agent.node
        released: dict[str, int] = {}
        if node is not None:
            recalls = {str(one): number for one, number in recalls_of(node).items()}
            released = {ip: number for ip, number in recalls.items() if ip not in agent.held}
            if released:
                agent.round = node.status.round
        return NodeRuntimeStatus(
            held=dict(agent.held),
            released=released,
            waiting=len(agent.waiting),
            seen="" if node is None else node.metadata.resource_version,
        )

    async def _ask(self, agent: Agent, node: PoolNode) -> None:
        """Write the agent's part of the resource's spec."""
        if not node.spec.node_cap.adapters:
            return
        agent.has_asked = True
        patch = [
            {"op": "add", "path": f"/spec/{key}", "value": value}
            for key, value in self._wanted(agent, node).items()
        ]
        await self._kube.patch(POOL_NODES, agent.name, patch, kind=PatchType.JSON)

    def _wanted(self, agent: Agent, node: PoolNode) -> Mapping[str, Any]:
        limits = limits_of(self._world.plan.instance_type, node.spec.node_cap)
        facts = InstanceFacts(
            instance_id=agent.instance_id,
            zone_id=ZONE,
            vswitch_id=self._world.pod_rooms[0],
            security_group_ids=(),
            limits=limits,
        )
        config = pool_config(self._conf, facts, token_seed="")
        return wanted_spec(self._conf, config, limits, Mode.VETH)

    async def _write(self, name: str, status: NodeRuntimeStatus, *, is_first: bool) -> None:
        patch = [{"op": "add", "path": "/status", "value": msgspec.to_builtins(status)}]
        if is_first:
            await self._kube.create(NODE_RUNTIMES, {"metadata": {"name": name}})
        try:
            await self._kube.patch(
                NODE_RUNTIMES, name, patch, kind=PatchType.JSON, subresource="status"
            )
        except ConflictError as error:
            if error.code != "NotFound":
                raise


def _conf(world: ScaleWorld) -> EniConf:
    vswitches = {str(ZONE): [str(one) for one in world.pod_rooms]}
    text: dict[str, object] = {
        "vswitches": vswitches,
        "security_groups": [str(world.group)],
        "ipam_type": "crd",
        "ip_stack": "ipv4",
    }
    conf, _ = read_eni_conf(text)
    return conf
