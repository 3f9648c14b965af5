"""How does a state of a case come about in the lab? Nodes, namespaces, labels, pods, addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from terway.kube.client import KubeClient
from terway.kube.resource import NODES
from terway.kube.types import Node
from terway.lab.policy.cases import State
from terway.lab.policy.ends import Ends, Place, outside_of, places_of, real_addresses
from terway.lab.policy.families import in_family
from terway.lab.policy.inforce import wait_in_force
from terway.lab.policy.manifests import translate
from terway.lab.policy.members import select_members, select_nobody, wait_for_trunks
from terway.lab.policy.objects import CaseObjects, Labels
from terway.lab.policy.placement import Need, Placement, check_room, place
from terway.lab.policy.pods import CasePods, RealPod, Wish
from terway.lab.policy.services import Services, translations
from terway.lab.policy.services_api import ServicesInApi
from terway.lab.policy.world import LabNode, LabWorld, sockets_of
from terway.lab.world.node import run_command
from terway.model.address import Family, IPAddress, IPNetwork
from terway.policy.cluster import Cluster, PodKey

Progress = Callable[[str], None]
_MAX_PODS = 7  # of a node that is not there yet: what an exclusive one of the lab's takes


class Stage:
    """A lab on which cases are shown, in pods of one mode. `open` it first, `close` it last."""

    def __init__(
        self,
        world: LabWorld,
        kube: KubeClient,
        *,
        is_exclusive: bool,
        has_members: bool,
        leads_services: bool,
        family: Family | None,
        progress: Progress,
    ) -> None:
        self._world = world
        self._kube = kube
        self.is_exclusive = is_exclusive
        self._has_members = has_members  # the pods are those of a trunk
        self._family = family
        self._progress = progress
        self._objects = CaseObjects(kube)
        self._pods = CasePods(kube)
        self._ranges: tuple[IPNetwork, ...] = ()
        self._nodes: tuple[LabNode, ...] = ()  # of the mode
        self._sockets: Mapping[str, Any] = {}  # of all nodes
        self._places: dict[str, Place] = {}  # of the nodes of the mode
        # Who leads to services: the nodes' own data path, or else somebody else there.
        self._services = ServicesInApi(kube) if leads_services else Services()
        self._has_warned = False

    async def open(self) -> None:
        """Look at the lab. UsageError when policies of somebody else's are in it."""
        await self._objects.begin()
        self._ranges = await self._world.ranges()
        await self._look()
        if self._has_members:
            await select_members(self._kube)

    async def close(self) -> None:
        """Take policies and labels away again; the pods stay, for other cases."""
        await self._services.translate(())
        if self._has_members:
            await select_nobody(self._kube)
        await self._objects.end()

    def begin(self) -> None:
        """Begin another case."""
        self._pods.begin()

    async def show(self, state: State) -> Ends:
        """Make a state, and return its ends once it is in force. VpcError when it cannot be."""
        cluster = in_family(state.step.cluster, state.manifests, self._family)
        placement = await self._place(state, cluster)
        await self._objects.namespaces(_namespaces(state, cluster))
        await self._objects.node_labels(
            {placement.nodes[node.name]: node.labels for node in cluster.nodes.values()}
        )
        made = await self._pods.make(
            Wish(
                pod=pod,
                node=placement.pods[key],
                is_terminating=key in state.terminating,
                has_own_eni=self._has_members,
            )
            for key, pod in cluster.pods.items()
        )
        ends = await self._ends(state, cluster, placement, made)
        await self._objects.policies(translate(state.manifests, real_addresses(ends, self._ranges)))
        await self._wait()
        if not self.is_exclusive:
            await self._services.translate(translations(ends, state.services))
        return ends

    async def _look(self) -> None:
        found = await self._world.all_nodes()
        self._nodes = await self._of_the_mode(found)
        self._sockets = sockets_of(found)
        self._pods.max_pods = {one.name: one.max_pods for one in self._nodes}
        nodes = {one.metadata.name: one for one in (await self._kube.list(NODES)).items}
        self._places = {
            one.name: Place(netns=one.netns, addresses=_internal(nodes[one.name]))
            for one in self._nodes
        }
        if isinstance(self._services, ServicesInApi):
            self._services.see(sockets_of(self._nodes))
        else:
            self._services.see(self._nodes)

    async def _of_the_mode(self, found: Iterable[LabNode]) -> tuple[LabNode, ...]:
        """Return the nodes on which pods of the mode can be, and how many on each."""
        nodes = tuple(one for one in found if one.is_exclusive is self.is_exclusive)
        if not self._has_members:
            return nodes
        members = await wait_for_trunks(self._kube, (one.name for one in nodes))
        return tuple(replace(one, max_pods=members[one.name]) for one in nodes)

    async def _place(self, state: State, cluster: Cluster) -> Placement:
        """Return where all are, on as many nodes as it takes."""
        flows = tuple(state.step.flows())
        while True:
            per_node = min((one.max_pods for one in self._nodes), default=_MAX_PODS)
            names = [one.name for one in self._nodes]
            found = place(cluster, flows, names, per_node=per_node)
            if not isinstance(found, Need):
                check_room(found, cluster, {one.name: one.max_pods for one in self._nodes})
                return found
            await self._world.add_nodes(
                found.nodes - len(names), is_exclusive=self.is_exclusive, progress=self._progress
            )
            await self._look()

    async def _ends(
        self,
        state: State,
        cluster: Cluster,
        placement: Placement,
        made: Mapping[PodKey, RealPod],
    ) -> Ends:
        names = [(placement.pods[key], key.namespace, pod.name) for key, pod in made.items()]
        paths = await self._world.pod_netns(names)
        pods = {
            key: Place(netns=path, addresses=pod.addresses)
            for (key, pod), path in zip(made.items(), paths, strict=True)
        }
        nodes = {name: self._places[found] for name, found in placement.nodes.items()}
        places = places_of(cluster, pods, nodes)
        outside = outside_of(state.step.flows(), places, self._ranges)
        netns = await self._world.outside_netns() if outside else ""
        await _own(netns, outside.values())
        return Ends(
            cluster=cluster,
            places=places,
            outside=outside,
            outside_netns=netns,
            family=self._family,
        )

    async def _wait(self) -> None:
        open_ = await wait_in_force(self._kube, self._sockets)
        if open_ and not self._has_warned:
            self._progress(f"no policy is enforced on {', '.join(open_)}")
            self._has_warned = True


def _namespaces(state: State, cluster: Cluster) -> dict[str, Labels]:
    """Return the labels of all namespaces that the state has something in."""
    names = {key.namespace for key in cluster.pods}
    names |= {str((one.get("metadata") or {}).get("namespace") or "") for one in state.manifests}
    without: dict[str, Labels] = {name: {} for name in names if name}
    return without | {name: one.labels for name, one in cluster.namespaces.items()}


def _internal(node: Node) -> tuple[IPAddress, ...]:
    return tuple(
        ip_address(one.address) for one in node.status.addresses if one.type == "InternalIP"
    )


async def _own(netns: str, addresses: Iterable[IPAddress]) -> None:
    """Give the host outside these addresses; idempotent."""
    lines = [
        f"address replace {one}/{one.max_prefixlen} dev lo{' nodad' * (one.version == 6)}"
        for one in addresses
    ]
    if lines:
        words = ["nsenter", f"--net={netns}", "ip", "-batch", "-"]
        await run_command(words, stdin="\n".join(lines) + "\n")
