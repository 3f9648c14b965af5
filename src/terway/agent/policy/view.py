"""What has this node heard of the cluster, and what of it has not been compiled yet?

Changes wait folded, one for each object: the compiler's result does not depend on their order, and
what came and went meanwhile is no work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from functools import partial
from random import Random
from typing import Any

import structlog

from terway.agent.policy.collection import Collection
from terway.agent.policy.objects import (
    LEAN_PODS,
    LeanPod,
    is_net_admin,
    lean_uid,
    namespace_of,
    node_of,
    pod_of,
)
from terway.agent.policy.reading import read_policy
from terway.agent.policy.selected import PolicyIndex
from terway.kube.backoff import Backoff
from terway.kube.client import KubeClient
from terway.kube.resource import (
    ADMIN_NETWORK_POLICIES,
    BASELINE_ADMIN_NETWORK_POLICIES,
    CLUSTER_NETWORK_POLICIES,
    NAMESPACES,
    NETWORK_POLICIES,
    NODES,
    ObjectKey,
    Resource,
)
from terway.kube.types import Namespace as KubeNamespace
from terway.kube.types import Node as KubeNode
from terway.model.address import IPPair
from terway.model.ids import NodeName
from terway.policy.changes import (
    Attach,
    ClusterChange,
    Detach,
    DropNamespace,
    DropNode,
    DropPod,
    DropPolicy,
    SetNamespace,
    SetNode,
    SetPod,
    SetPolicy,
)
from terway.policy.cluster import Cluster, Namespace, Node, Pod, PodKey
from terway.policy.policies import Kind, Policy, PolicyKey

# The watch tells of a pod before its ADD comes, as a rule; or else some milliseconds later.
DOUBT_AFTER_S = 1.0
_log = structlog.get_logger("policy")

Policies = Collection[dict[str, Any], PolicyKey, Policy]
_CLUSTER_KINDS = {
    Kind.CLUSTER: CLUSTER_NETWORK_POLICIES,
    Kind.ADMIN: ADMIN_NETWORK_POLICIES,
    Kind.BASELINE_ADMIN: BASELINE_ADMIN_NETWORK_POLICIES,
}


class View:
    """The cluster's pods, namespaces, nodes and policies, and what is attached here.

    `now` is monotonic seconds. `on_pod` hears of each pod that the API tells of.
    """

    def __init__(
        self, client: KubeClient, node: NodeName, *, rng: Random, now: Callable[[], float]
    ) -> None:
        self._client = client
        self._node = node
        self._rng = rng
        self._now = now
        self._waiting: dict[Hashable, ClusterChange] = {}
        self._since = 0.0
        self.version = 0  # grows whenever what may be selected here, or by what, has changed
        self.filled = asyncio.Event()
        self.attached: dict[PodKey, IPPair] = {}
        self._index = PolicyIndex()
        self._named = asyncio.Event()  # a namespace was heard of
        self._orphans: set[PodKey] = set()  # attached, and gone from the API
        self._uids: dict[PodKey, str] = {}  # of the pods of this node
        self.net_admins: set[PodKey] = set()  # pods of this node that may change their own network
        self.on_pod: Callable[[PodKey], None] = lambda key: None
        self.pods: Collection[LeanPod, PodKey, Pod] = Collection(
            client,
            LEAN_PODS,
            name=_pod_key,
            read=self._read_pod,
            heard=self._heard_pod,
            backoff=Backoff(rng),
            now=now,
        )
        self.namespaces: Collection[KubeNamespace, str, Namespace] = Collection(
            client,
            NAMESPACES,
            name=lambda key: key.name,
            read=namespace_of,
            heard=self._heard_namespace,
            backoff=Backoff(rng),
            now=now,
        )
        self.nodes: Collection[KubeNode, NodeName, Node] = Collection(
            client,
            NODES,
            name=lambda key: NodeName(key.name),
            read=node_of,
            heard=self._heard_node,
            backoff=Backoff(rng),
            now=now,
        )
        self.policies = (
            self._policies(Kind.NETWORK, NETWORK_POLICIES),
            *(self._policies(kind, resource) for kind, resource in _CLUSTER_KINDS.items()),
        )

    def _policies(self, kind: Kind, resource: Resource[dict[str, Any]]) -> Policies:
        return Collection(
            self._client,
            resource,
            name=lambda key: PolicyKey(kind=kind, namespace=key.namespace, name=key.name),
            read=partial(read_policy, kind, resource),
            heard=self._heard_policy,
            backoff=Backoff(self._rng),
            now=self._now,
            is_optional=kind is not Kind.NETWORK,
        )

    async def run(self) -> None:
        """Follow all until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for one in self._collections():
                tasks.create_task(one.run(), name=f"policy {one.kind}")

    async def synced(self) -> None:
        """Wait until each kind has been read once."""
        for one in self._collections():
            await one.synced.wait()

    @property
    def is_synced(self) -> bool:
        """Return whether each kind has been read once."""
        return all(one.synced.is_set() for one in self._collections())

    @property
    def heard(self) -> dict[str, str]:
        """Return up to which resourceVersion each kind has been heard."""
        return {one.kind: one.heard for one in self._collections()}

    @property
    def is_waiting(self) -> bool:
        """Return whether something of it has not been taken yet."""
        return bool(self._waiting)

    @property
    def stale_s(self) -> float:
        """Return since when nothing was heard of the kind that was not heard of the longest.

        In health, up to some 80: an API server that has nothing to tell says so now and then.
        """
        return self._now() - min(one.alive_at for one in self._collections())

    @property
    def troubles(self) -> tuple[str, ...]:
        """Return which kinds are not followed at the moment, and why."""
        collections = self._collections()
        return tuple(f"{one.kind}: {one.trouble}" for one in collections if one.trouble)

    def cluster(self) -> Cluster:
        """Return the state of the cluster, as `evaluate` wants it: a live view."""
        return Cluster(
            namespaces=self.namespaces.values, pods=self.pods.values, nodes=self.nodes.values
        )

    def all_policies(self) -> tuple[Policy, ...]:
        """Return all policies, those that could not be read as well."""
        return tuple(policy for one in self.policies for policy in one.values.values())

    def selecting(self, key: PodKey) -> tuple[Policy, ...]:
        """Return the policies that select a pod."""
        pod = self.pods.values.get(key)
        return () if pod is None else tuple(self._index.selecting(pod, self.namespaces.values))

    def is_let(self, key: PodKey) -> bool:
        """Return whether it is known that no policy selects a pod."""
        is_known = key in self.pods.values and key.namespace in self.namespaces.values
        return is_known and not self.selecting(key)

    def is_other(self, key: PodKey, uid: str) -> bool:
        """Return whether the API has another pod by that name than the one with a uid, here."""
        if self.pods.values[key].node not in (None, self._node):
            return True
        known = self._uids.get(key, "")
        return bool(uid and known and uid != known)

    def uid_of(self, key: PodKey) -> str:
        """Return the uid of a pod of this node, empty where it is not known."""
        return self._uids.get(key, "")

    @property
    def unknown(self) -> tuple[PodKey, ...]:
        """Return what is attached here of which nobody knows what policies say, so it is shut."""
        known = self.pods.values
        return tuple(key for key in self.attached if key not in known and key not in self._orphans)

    def meet(self, pod: Pod, *, uid: str = "") -> None:
        """Take a pod that an ADD has read of the API, maybe before the watch of all tells of it."""
        held = self.pods.values.get(pod.key)
        if held is None or held.created_at < pod.created_at:
            self._uids[pod.key] = uid
            self.pods.put_early(pod.key, pod)
            asyncio.get_running_loop().call_later(DOUBT_AFTER_S, self._doubt, pod.key)

    def _doubt(self, key: PodKey) -> None:
        """Ask for all watches anew if theirs has not told of a pod: others may be as silent."""
        if key in self.pods.early:
            _log.warning("policy.watch_doubted", pod=str(key))
            for one in self._collections():
                one.ask_again()

    async def knows_namespace(self, name: str) -> None:
        """Wait until a namespace has been heard of: its labels may have its pods selected."""
        while name not in self.namespaces.values:
            self._named.clear()
            await self._named.wait()

    def attach(self, key: PodKey, addresses: IPPair) -> None:
        """A pod has an interface here."""
        self.attached[key] = addresses
        self._put(("attachment", key), Attach(key=key, addresses=addresses))

    def detach(self, key: PodKey) -> None:
        """A pod has none here any more."""
        if self.attached.pop(key, None) is not None:
            self._put(("attachment", key), Detach(key=key))
        if key in self._orphans:
            self._heard_pod(key, None)

    def take(self) -> tuple[tuple[ClusterChange, ...], float]:
        """Return what is waiting, and since when; nothing is waiting afterwards."""
        taken, self._waiting = tuple(self._waiting.values()), {}
        self.filled.clear()
        return taken, self._since

    def _put(self, place: tuple[str, Hashable], change: ClusterChange) -> None:
        if not self._waiting:
            self._since = self._now()
        self._waiting[place] = change
        self.filled.set()
        if not isinstance(change, SetPod | DropPod) or place[1] in self.attached:
            self.version += 1

    def _read_pod(self, lean: LeanPod) -> Pod:
        pod = pod_of(lean)
        held = self.pods.values.get(pod.key)
        if held is not None and pod.created_at < held.created_at:
            return held  # an ADD has read the one that comes after it
        self._forget(pod.key)
        if pod.node == self._node:
            self._uids[pod.key] = lean_uid(lean)
            if is_net_admin(lean):
                self.net_admins.add(pod.key)
        return pod

    def _forget(self, key: PodKey) -> None:
        self._uids.pop(key, None)
        self.net_admins.discard(key)

    def _heard_pod(self, key: PodKey, pod: Pod | None) -> None:
        self._orphans.discard(key)
        if pod is None:
            self._forget(key)
            if key in self.attached:
                # Deleted by force: it runs on for a while, and nothing must open for it meanwhile.
                self._orphans.add(key)
            else:
                self._put(("pod", key), DropPod(key=key))
            return
        self._put(("pod", key), SetPod(pod=pod))
        self.on_pod(key)

    def _heard_namespace(self, name: str, one: Namespace | None) -> None:
        change = DropNamespace(name=name) if one is None else SetNamespace(namespace=one)
        self._put(("namespace", name), change)
        self._named.set()

    def _heard_node(self, name: NodeName, node: Node | None) -> None:
        self._put(("node", name), DropNode(name=name) if node is None else SetNode(node=node))

    def _heard_policy(self, key: PolicyKey, policy: Policy | None) -> None:
        self._index.put(key, policy)
        self._put(
            ("policy", key), DropPolicy(key=key) if policy is None else SetPolicy(policy=policy)
        )

    def _collections(self) -> tuple[Collection[Any, Any, Any], ...]:
        return (self.pods, self.namespaces, self.nodes, *self.policies)


def _pod_key(key: ObjectKey) -> PodKey:
    return PodKey(namespace=key.namespace, name=key.name)
