"""What does policy read of pods, namespaces and nodes? As little as possible: it holds all of them.

A cluster has thousands of times more pods than a node, so a pod is decoded without what policy does
not look at, and is kept as `policy.Pod` alone: about 1 kB. Texts that many pods share are one.
Source: Kubernetes API reference v1.32, core/v1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from sys import intern

from msgspec import Struct, field

from terway.kube.resource import PODS
from terway.kube.types import Namespace as KubeNamespace
from terway.kube.types import Node as KubeNode
from terway.kube.types import Pod as KubePod
from terway.model.address import IPAddress
from terway.model.ids import NodeName
from terway.policy.cluster import NamedPort, Namespace, Node, Pod, PodKey, Protocol

_NAME_LABEL = "kubernetes.io/metadata.name"
_FINISHED = frozenset(("Succeeded", "Failed"))
_NETWORK_CAPABILITIES = frozenset(("NET_ADMIN", "ALL"))
# The API's image of a static pod: the runtime knows the pod by another uid.
_MIRROR = "kubernetes.io/config.mirror"


class _Value(Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """What all have in common, as in `kube.types`."""


class _Annotations(_Value, frozen=True, kw_only=True):
    mirror: str = field(default="", name=_MIRROR)


class _Meta(_Value, frozen=True, kw_only=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    annotations: _Annotations = field(default_factory=_Annotations)
    resource_version: str = ""
    creation_timestamp: str | None = None
    labels: dict[str, str] = field(default_factory=dict)


class _Port(_Value, frozen=True, kw_only=True):
    name: str = ""
    container_port: int = 0
    protocol: str = "TCP"


class _Capabilities(_Value, frozen=True, kw_only=True):
    add: tuple[str, ...] = ()


class _SecurityContext(_Value, frozen=True, kw_only=True):
    privileged: bool | None = None
    capabilities: _Capabilities | None = None


class _Container(_Value, frozen=True, kw_only=True):
    ports: tuple[_Port, ...] = ()
    restart_policy: str = ""
    security_context: _SecurityContext | None = None


class _Spec(_Value, frozen=True, kw_only=True):
    node_name: str = ""
    host_network: bool = False
    containers: tuple[_Container, ...] = ()
    init_containers: tuple[_Container, ...] = ()


class _PodIP(_Value, frozen=True, kw_only=True):
    ip: str = ""


class _Status(_Value, frozen=True, kw_only=True):
    phase: str = "Pending"
    pod_ip: str = field(default="", name="podIP")
    pod_ips: tuple[_PodIP, ...] = field(default=(), name="podIPs")


class LeanPod(_Value, frozen=True, kw_only=True):
    """core/v1 Pod, as far as policy is concerned."""

    metadata: _Meta = field(default_factory=_Meta)
    spec: _Spec = field(default_factory=_Spec)
    status: _Status = field(default_factory=_Status)


LEAN_PODS = PODS.typed(LeanPod)


def pod_of(pod: LeanPod) -> Pod:
    """Return a pod as policy sees it."""
    meta, spec, status = pod.metadata, pod.spec, pod.status
    return Pod(
        key=PodKey(namespace=intern(meta.namespace), name=meta.name),
        labels=_shared(meta.labels),
        addresses=_addresses((status.pod_ip, *(one.ip for one in status.pod_ips))),
        node=NodeName(intern(spec.node_name)) if spec.node_name else None,
        ports=tuple(_ports(spec)),
        is_host_network=spec.host_network,
        is_finished=status.phase in _FINISHED,
        created_at=meta.creation_timestamp or "",
    )


def is_net_admin(pod: LeanPod) -> bool:
    """Return whether a container of the pod may change the pod's own network."""
    contexts = (one.security_context for one in (*pod.spec.containers, *pod.spec.init_containers))
    return any(one is not None and _may_change_network(one) for one in contexts)


def _may_change_network(context: _SecurityContext) -> bool:
    added = () if context.capabilities is None else context.capabilities.add
    names = {name.upper().removeprefix("CAP_") for name in added}
    return bool(context.privileged) or not names.isdisjoint(_NETWORK_CAPABILITIES)


def lean_uid(pod: LeanPod) -> str:
    """Return the uid by which the runtime knows the pod, empty where it knows it by another."""
    return "" if pod.metadata.annotations.mirror else pod.metadata.uid


def uid_of(pod: KubePod) -> str:
    """Return the uid by which the runtime knows the pod, empty where it knows it by another."""
    return "" if _MIRROR in pod.metadata.annotations else pod.metadata.uid


def unseen_pod(pod: KubePod) -> Pod:
    """Return a pod that an ADD has read before the watch of all pods has told of it.

    Its ports are not known by name until then; names matter to others' egress only when it listens.
    """
    meta = pod.metadata
    return Pod(
        key=PodKey(namespace=intern(meta.namespace), name=meta.name),
        labels=_shared(meta.labels),
        node=NodeName(intern(pod.spec.node_name)) if pod.spec.node_name else None,
        created_at=meta.creation_timestamp or "",
    )


def namespace_of(namespace: KubeNamespace) -> Namespace:
    """Return a namespace as policy sees it: its name is a label, whether given or not."""
    name = intern(namespace.metadata.name)
    return Namespace(name=name, labels=_shared({**namespace.metadata.labels, _NAME_LABEL: name}))


def node_of(node: KubeNode) -> Node:
    """Return a node as policy sees it; addresses that are names (Hostname, DNS) are left out."""
    return Node(
        name=NodeName(intern(node.metadata.name)),
        labels=_shared(node.metadata.labels),
        addresses=_addresses(one.address for one in node.status.addresses),
    )


def _shared(labels: dict[str, str]) -> dict[str, str]:
    return {intern(key): intern(value) for key, value in labels.items()}


def _addresses(texts: Iterable[str]) -> tuple[IPAddress, ...]:
    found: dict[IPAddress, None] = {}
    for text in texts:
        try:
            found[ip_address(text)] = None
        except ValueError:
            continue  # empty, or the name of a node
    return tuple(found)


def _ports(spec: _Spec) -> Iterator[NamedPort]:
    """Yield the named ports of containers, and of init containers that stay: sidecars."""
    stay = (one for one in spec.init_containers if one.restart_policy == "Always")
    for container in (*spec.containers, *stay):
        for port in container.ports:
            if port.name:
                yield NamedPort(
                    name=intern(port.name),
                    protocol=_protocol(port.protocol),
                    port=port.container_port,
                )


def _protocol(text: str) -> Protocol:
    return Protocol(text) if text in Protocol.__members__ else Protocol.OTHER
