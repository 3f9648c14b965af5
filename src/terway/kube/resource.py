"""Under which path does a kind of object live, and as which type is it read?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec

from terway.kube.types import ConfigMap, Event, Lease, Namespace, Node, ObjectMeta, Pod
from terway.model.errors import UsageError

T = TypeVar("T")
S = TypeVar("S")


class _ListMeta(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    metadata: _ListMeta = msgspec.field(default_factory=_ListMeta)
    items: list[T] | None = None  # Go writes an empty list as null here and there


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resource(Generic[T]):
    """A kind of object at the API, decoded as `read_as`. Decoders are made once, here.

    `read_as` is any msgspec type: a Struct with the fields used, or ``dict[str, Any]`` for all.
    """

    group: str  # empty for the core group
    version: str
    plural: str
    kind: str
    namespaced: bool
    read_as: type[T]
    # What an informer keeps of each object; of a list, page by page. Twice is the same as once.
    shrink: Callable[[T], T] | None = None
    decoder: msgspec.json.Decoder[T] = field(init=False, repr=False)
    page_decoder: msgspec.json.Decoder[_Page[T]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "decoder", msgspec.json.Decoder(self.read_as))
        page: Any = _Page[self.read_as]  # type: ignore[name-defined]  # a type made at run time
        object.__setattr__(self, "page_decoder", msgspec.json.Decoder(page))

    @property
    def api_version(self) -> str:
        """Return `apiVersion` as objects spell it: ``v1``, ``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def typed(self, other: type[S]) -> Resource[S]:
        """Return the same resource, read as another type: a room's own, with more fields."""
        return Resource(
            group=self.group,
            version=self.version,
            plural=self.plural,
            kind=self.kind,
            namespaced=self.namespaced,
            read_as=other,
        )

    def path(
        self, *, namespace: str | None = None, name: str | None = None, subresource: str = ""
    ) -> str:
        """Return the URL path of one object, or of the collection without `name`.

        Without `namespace` the collection of a namespaced kind spans all namespaces; one object
        of it cannot be named that way, which is a UsageError.
        """
        if name is not None and self.namespaced and not namespace:
            raise UsageError(f"{self.plural}/{name}: a {self.kind} has a namespace; name it")
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


def _core(plural: str, kind: str, type_: type[S], *, namespaced: bool = True) -> Resource[S]:
    return Resource(
        group="", version="v1", plural=plural, kind=kind, namespaced=namespaced, read_as=type_
    )


PODS = _core("pods", "Pod", Pod)
NODES = _core("nodes", "Node", Node, namespaced=False)
NAMESPACES = _core("namespaces", "Namespace", Namespace, namespaced=False)
CONFIG_MAPS = _core("configmaps", "ConfigMap", ConfigMap)
EVENTS = _core("events", "Event", Event)
LEASES = Resource(
    group="coordination.k8s.io",
    version="v1",
    plural="leases",
    kind="Lease",
    namespaced=True,
    read_as=Lease,
)


def _raw(group: str, version: str, plural: str, kind: str) -> Resource[dict[str, Any]]:
    # Whole, as it is written: what a policy says by a field that we do not know matters.
    return Resource(
        group=group,
        version=version,
        plural=plural,
        kind=kind,
        namespaced=not group.startswith("policy."),
        read_as=dict[str, Any],
    )


_CLUSTER_POLICIES = "policy.networking.k8s.io"
NETWORK_POLICIES = _raw("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
CLUSTER_NETWORK_POLICIES = _raw(
    _CLUSTER_POLICIES, "v1alpha2", "clusternetworkpolicies", "ClusterNetworkPolicy"
)
ADMIN_NETWORK_POLICIES = _raw(
    _CLUSTER_POLICIES, "v1alpha1", "adminnetworkpolicies", "AdminNetworkPolicy"
)
BASELINE_ADMIN_NETWORK_POLICIES = _raw(
    _CLUSTER_POLICIES, "v1alpha1", "baselineadminnetworkpolicies", "BaselineAdminNetworkPolicy"
)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ObjectKey:
    """The name of an object among its kind. `namespace` is empty for cluster-scoped kinds."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def metadata_of(value: object) -> ObjectMeta:
    """Return the metadata of any object we read, Struct or dict."""
    if isinstance(value, dict):
        return msgspec.convert(value.get("metadata", {}), ObjectMeta)
    metadata: ObjectMeta = value.metadata  # type: ignore[attr-defined]  # what KubeObject has
    return metadata


def key_of(value: object) -> ObjectKey:
    """Return the key of any object we read."""
    metadata = metadata_of(value)
    return ObjectKey(namespace=metadata.namespace, name=metadata.name)
