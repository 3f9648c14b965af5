"""A lab in which policies come and go, for tests that say what must be true meanwhile."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from terway.kube.client import PatchType
from terway.kube.resource import NAMESPACES, NETWORK_POLICIES, PODS, ObjectKey
from terway.kube.types import Pod
from terway.lab.policy.inforce import SOCKET, wait_in_force
from terway.lab.world.lab import Lab
from terway.lab.world.plan import EXCLUSIVE_LABELS, NodePool
from terway.lab.world.pods import PodHandle
from terway.lab.world.waiting import PATIENCE_S, wait_until
from terway.model.address import Family, IPAddress
from tests.support.policy_objects import Object
from tests.support.wires import End

POOL = NodePool(name="eni", nodes=2, labels=EXCLUSIVE_LABELS)
_AT_ONCE = 8  # pods
_ROOM = {"node": 43, "eni": 5}  # beside the two of a crew; each ENI of the latter serves one pod


@dataclass(slots=True)
class PolicyLab:
    """A running lab, and the policies that a test has made in it."""

    lab: Lab
    is_ebpf: bool = False  # what judges and translates is the nodes' own data path
    _made: dict[tuple[str, str], Object] = field(default_factory=dict)

    async def policies(self, *wanted: Object) -> None:
        """Make these the policies that there are, and return when they are in force."""
        await self.write(*wanted)
        await self.in_force()

    async def write(self, *wanted: Object) -> None:
        """Make these the policies that there are; new ones first, so that none is missed."""
        named = {(one["metadata"]["namespace"], one["metadata"]["name"]): one for one in wanted}
        for key, policy in named.items():
            if key not in self._made:
                await self.lab.kube.create(NETWORK_POLICIES, policy)
            elif policy != self._made[key]:
                await self._replace(policy)
        for namespace, name in self._made.keys() - named.keys():
            await self.lab.kube.delete(NETWORK_POLICIES, name, namespace=namespace)
        self._made = named

    async def _replace(self, policy: Object) -> None:
        meta = policy["metadata"]
        spec = [{"op": "replace", "path": "/spec", "value": policy["spec"]}]
        await self.lab.kube.patch(
            NETWORK_POLICIES, meta["name"], spec, namespace=meta["namespace"], kind=PatchType.JSON
        )

    async def in_force(self) -> None:
        """Wait until every node has in force what the API says now."""
        sockets = {name: node.inside(SOCKET) for name, node in self.lab.nodes.items()}
        assert await wait_in_force(self.lab.kube, sockets) == (), "a node enforces nothing"

    async def relabel(self, pod: PodHandle, labels: Mapping[str, str | None]) -> None:
        """Change labels of a pod; None takes one away."""
        patch = {"metadata": {"labels": dict(labels)}}
        await self.lab.kube.patch(PODS, pod.name, patch, namespace=pod.namespace)
        await self.in_force()

    async def relabel_namespace(self, name: str, labels: Mapping[str, str | None]) -> None:
        """Change labels of a namespace."""
        await self.lab.kube.patch(NAMESPACES, name, {"metadata": {"labels": dict(labels)}})
        await self.in_force()

    async def namespace(self, name: str) -> str:
        """Make a namespace, and return its name."""
        await self.lab.kube.create(NAMESPACES, {"metadata": {"name": name}})
        return name

    async def phase(self, name: str, phase: str) -> Pod:
        """Wait until a pod of the default namespace is in a phase, and return it."""
        key = ObjectKey(namespace="default", name=name)

        def trouble(pods: Mapping[ObjectKey, Pod]) -> str:
            return "" if key in pods and pods[key].status.phase == phase else f"not {phase}"

        found = await wait_until(
            self.lab.kube, PODS, trouble, timeout_s=PATIENCE_S, namespace="default"
        )
        return found[key]

    @asynccontextmanager
    async def pod_with_address(self, address: IPAddress, *, node: str) -> AsyncIterator[PodHandle]:
        """Start pods on a node until one of them is given the address; enter with that one.

        The pool must keep all addresses that it has: `max_free` at least the node's capacity.
        It gives what has rested longest first, so the address may be the very last.
        """
        made: list[PodHandle] = []
        room = _ROOM[node.rpartition("-")[0]]
        try:
            while not (found := [pod for pod in made if address in pod.addresses]):
                assert len(made) < room, f"none of {room} pods was given {address}"
                names = [unique("next") for _ in range(min(_AT_ONCE, room - len(made)))]
                made += await asyncio.gather(*(self.lab.pod(name, node=node) for name in names))
            await self.in_force()
            yield found[0]
        finally:
            await asyncio.gather(*(self.lab.delete_pod(pod.name) for pod in made))


async def open_crew(lab: Lab, pool: str) -> Crew:
    """Run the pods of a crew on the first two nodes of a pool."""
    places = {"client": 1, "near": 1, "server": 2, "other": 2}
    made = await asyncio.gather(
        *(
            lab.pod(f"{pool}-{part}", node=f"{pool}-{number}", labels={"app": part, "pool": pool})
            for part, number in places.items()
        )
    )
    return Crew(
        pods=dict(zip(places, made, strict=True)),
        nodes={name: _node_ends(lab, name) for name in (f"{pool}-1", f"{pool}-2")},
        pool=pool,
    )


def _node_ends(lab: Lab, name: str) -> dict[Family, End]:
    instance, path = lab.instances[name], lab.node(name).netns_path
    pair = {Family.V4: instance.ipv4, Family.V6: instance.ipv6}
    return {
        family: End(netns_path=path, address=address)
        for family, address in pair.items()
        if address is not None
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """Four pods of a pool of nodes, and its nodes, as ends of one family.

    `client` and `near` are on the first node, `server` and `other` on the second; a pod's labels
    are `app: <its part>` and `pool: <the pool>`.
    """

    pods: Mapping[str, PodHandle]
    nodes: Mapping[str, Mapping[Family, End]]
    pool: str
    family: Family = Family.V4

    def of(self, family: Family) -> Crew:
        """Return the same by their addresses of a family."""
        return replace(self, family=family)

    def labels(self, part: str) -> dict[str, str]:
        """Return labels that only this pod has."""
        return {"app": part, "pool": self.pool}

    def end(self, part: str) -> End:
        """Return a pod as an end."""
        return end_of(self.pods[part], self.family)

    @property
    def client(self) -> End:
        """Return a pod of the first node."""
        return self.end("client")

    @property
    def near(self) -> End:
        """Return another pod of the first node."""
        return self.end("near")

    @property
    def server(self) -> End:
        """Return a pod of the second node."""
        return self.end("server")

    @property
    def other(self) -> End:
        """Return another pod of the second node."""
        return self.end("other")

    def node(self, number: int) -> End:
        """Return the first or the second node itself."""
        return self.nodes[f"{self.pool}-{number}"][self.family]


def unique(stem: str) -> str:
    """Return a name that no other test has."""
    return f"{stem}-{uuid.uuid4().hex[:6]}"


def end_of(pod: PodHandle, family: Family) -> End:
    """Return a pod as an end of wires."""
    return End(netns_path=pod.netns_path, address=pod.address(family))
