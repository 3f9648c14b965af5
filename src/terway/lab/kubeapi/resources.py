"""Which kinds of object does the server serve, and what is particular about each?

One row a kind. What a row does not say is the same for all: a kind without rules of its own is
stored, selected, watched and patched like any other. Later rooms add rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from terway.lab.kubeapi.customresources.kind import CustomKind
from terway.lab.kubeapi.schema import FieldType, type_named

OBJECT_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # a row is itself: fast as a key
class ResourceDef:
    """One kind of object.

    `fields` are the paths that a field selector may name besides metadata.name and
    metadata.namespace. `has_status`: status is written at a subresource of its own.
    `keeps_status_on_create`: a kubelet registers its node with status and all.
    `has_generation`: metadata.generation counts the changes of spec. `custom`: what its CRD says
    of it; `stored_as` is then the row under which objects of all its versions are stored.
    """

    group: str = ""
    version: str = "v1"
    kind: str
    plural: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    has_status: bool = False
    keeps_status_on_create: bool = False
    has_generation: bool = False
    has_scale: bool = False
    extra_subresources: tuple[tuple[str, str, tuple[str, ...]], ...] = ()  # name, kind, verbs
    verbs: tuple[str, ...] = OBJECT_VERBS
    is_question: bool = False  # a review: created to be answered, never stored
    schema: str = field(default="")  # type name in schema.json, empty: the kind's own
    custom: CustomKind | None = None
    stored_as: ResourceDef | None = None

    @property
    def api_version(self) -> str:
        """Return `apiVersion` as objects spell it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """Return the name that messages use: ``pods``, ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def singular(self) -> str:
        """Return the singular name, as kubectl accepts it."""
        return self.custom.singular if self.custom else self.kind.lower()

    @property
    def schema_name(self) -> str:
        """Return the name of the kind's type in the schema."""
        return self.schema or self.kind

    @property
    def list_kind(self) -> str:
        """Return the kind of a collection."""
        return self.custom.list_kind if self.custom else f"{self.kind}List"

    @property
    def home(self) -> ResourceDef:
        """Return the row under which the store has the kind, whichever version this is."""
        return self.stored_as or self

    @property
    def type(self) -> FieldType:
        """Return how objects of the kind merge."""
        return self.custom.type if self.custom else type_named(self.schema_name)


_POD_FIELDS = (
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
)
_EVENT_FIELDS = (
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
)

POD = ResourceDef(
    kind="Pod",
    plural="pods",
    short_names=("po",),
    categories=("all",),
    fields=_POD_FIELDS,
    has_status=True,
    extra_subresources=(
        ("binding", "Binding", ("create",)),
        ("eviction", "Eviction", ("create",)),
        ("log", "Pod", ("get",)),
    ),
)
NODE = ResourceDef(
    kind="Node",
    plural="nodes",
    namespaced=False,
    short_names=("no",),
    fields=("spec.unschedulable",),
    has_status=True,
    keeps_status_on_create=True,
)
NAMESPACE = ResourceDef(
    kind="Namespace",
    plural="namespaces",
    namespaced=False,
    short_names=("ns",),
    fields=("status.phase",),
    has_status=True,
)
CONFIG_MAP = ResourceDef(kind="ConfigMap", plural="configmaps", short_names=("cm",))
SECRET = ResourceDef(kind="Secret", plural="secrets", fields=("type",))
SERVICE_ACCOUNT = ResourceDef(
    kind="ServiceAccount",
    plural="serviceaccounts",
    short_names=("sa",),
    extra_subresources=(("token", "TokenRequest", ("create",)),),
)
SERVICE = ResourceDef(
    kind="Service",
    plural="services",
    short_names=("svc",),
    categories=("all",),
    fields=("spec.clusterIP", "spec.type"),
    has_status=True,
)
ENDPOINTS = ResourceDef(kind="Endpoints", plural="endpoints", short_names=("ep",))
EVENT = ResourceDef(kind="Event", plural="events", short_names=("ev",), fields=_EVENT_FIELDS)
RESOURCE_QUOTA = ResourceDef(
    kind="ResourceQuota", plural="resourcequotas", short_names=("quota",), has_status=True
)
LIMIT_RANGE = ResourceDef(kind="LimitRange", plural="limitranges", short_names=("limits",))
LEASE = ResourceDef(group="coordination.k8s.io", kind="Lease", plural="leases")
ENDPOINT_SLICE = ResourceDef(
    group="discovery.k8s.io", kind="EndpointSlice", plural="endpointslices"
)
DEPLOYMENT = ResourceDef(
    group="apps",
    kind="Deployment",
    plural="deployments",
    short_names=("deploy",),
    categories=("all",),
    has_status=True,
    has_generation=True,
    has_scale=True,
)
REPLICA_SET = ResourceDef(
    group="apps",
    kind="ReplicaSet",
    plural="replicasets",
    short_names=("rs",),
    categories=("all",),
    fields=("status.replicas",),
    has_status=True,
    has_generation=True,
    has_scale=True,
)
DAEMON_SET = ResourceDef(
    group="apps",
    kind="DaemonSet",
    plural="daemonsets",
    short_names=("ds",),
    categories=("all",),
    has_status=True,
    has_generation=True,
)
STATEFUL_SET = ResourceDef(
    group="apps",
    kind="StatefulSet",
    plural="statefulsets",
    short_names=("sts",),
    categories=("all",),
    has_status=True,
    has_generation=True,
    has_scale=True,
)
CONTROLLER_REVISION = ResourceDef(
    group="apps", kind="ControllerRevision", plural="controllerrevisions"
)
# Held, and not heeded: nobody drains nodes here.
POD_DISRUPTION_BUDGET = ResourceDef(
    group="policy",
    kind="PodDisruptionBudget",
    plural="poddisruptionbudgets",
    short_names=("pdb",),
    has_status=True,
    has_generation=True,
)
NETWORK_POLICY = ResourceDef(
    group="networking.k8s.io",
    kind="NetworkPolicy",
    plural="networkpolicies",
    short_names=("netpol",),
    has_generation=True,
)
CLUSTER_NETWORK_POLICY = ResourceDef(
    group="policy.networking.k8s.io",
    version="v1alpha2",
    kind="ClusterNetworkPolicy",
    plural="clusternetworkpolicies",
    namespaced=False,
    short_names=("cnp",),
    has_status=True,
    has_generation=True,
)
ADMIN_NETWORK_POLICY = ResourceDef(
    group="policy.networking.k8s.io",
    version="v1alpha1",
    kind="AdminNetworkPolicy",
    plural="adminnetworkpolicies",
    namespaced=False,
    short_names=("anp",),
    has_status=True,
    has_generation=True,
)
BASELINE_ADMIN_NETWORK_POLICY = ResourceDef(
    group="policy.networking.k8s.io",
    version="v1alpha1",
    kind="BaselineAdminNetworkPolicy",
    plural="baselineadminnetworkpolicies",
    namespaced=False,
    short_names=("banp",),
    has_status=True,
    has_generation=True,
)
POLICY_NODE_STATUS = ResourceDef(  # Terway's own: what a node has in force
    group="network.alibabacloud.com",
    version="v1beta1",
    kind="PolicyNodeStatus",
    plural="policynodestatuses",
    namespaced=False,
)

_RBAC = "rbac.authorization.k8s.io"
ROLE = ResourceDef(group=_RBAC, kind="Role", plural="roles")
CLUSTER_ROLE = ResourceDef(group=_RBAC, kind="ClusterRole", plural="clusterroles", namespaced=False)
ROLE_BINDING = ResourceDef(group=_RBAC, kind="RoleBinding", plural="rolebindings")
CLUSTER_ROLE_BINDING = ResourceDef(
    group=_RBAC, kind="ClusterRoleBinding", plural="clusterrolebindings", namespaced=False
)


def _question(group: str, kind: str, *, namespaced: bool = False) -> ResourceDef:
    return ResourceDef(
        group=group,
        kind=kind,
        plural=f"{kind.lower()}s",
        namespaced=namespaced,
        verbs=("create",),
        is_question=True,
    )


TOKEN_REVIEW = _question("authentication.k8s.io", "TokenReview")
SELF_SUBJECT_REVIEW = _question("authentication.k8s.io", "SelfSubjectReview")
ACCESS_REVIEW = _question("authorization.k8s.io", "SubjectAccessReview")
SELF_ACCESS_REVIEW = _question("authorization.k8s.io", "SelfSubjectAccessReview")
LOCAL_ACCESS_REVIEW = _question("authorization.k8s.io", "LocalSubjectAccessReview", namespaced=True)
SELF_RULES_REVIEW = _question("authorization.k8s.io", "SelfSubjectRulesReview")
CUSTOM_RESOURCE_DEFINITION = ResourceDef(
    group="apiextensions.k8s.io",
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    namespaced=False,
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    has_status=True,
    has_generation=True,
)
_ADMISSION = "admissionregistration.k8s.io"
MUTATING_WEBHOOKS = ResourceDef(
    group=_ADMISSION,
    kind="MutatingWebhookConfiguration",
    plural="mutatingwebhookconfigurations",
    namespaced=False,
    categories=("api-extensions",),
)
VALIDATING_WEBHOOKS = ResourceDef(
    group=_ADMISSION,
    kind="ValidatingWebhookConfiguration",
    plural="validatingwebhookconfigurations",
    namespaced=False,
    categories=("api-extensions",),
)

BUILT_IN = (
    NAMESPACE,
    NODE,
    POD,
    CONFIG_MAP,
    SECRET,
    SERVICE_ACCOUNT,
    SERVICE,
    ENDPOINTS,
    EVENT,
    RESOURCE_QUOTA,
    LIMIT_RANGE,
    LEASE,
    ENDPOINT_SLICE,
    DEPLOYMENT,
    REPLICA_SET,
    DAEMON_SET,
    STATEFUL_SET,
    CONTROLLER_REVISION,
    POD_DISRUPTION_BUDGET,
    ROLE,
    CLUSTER_ROLE,
    ROLE_BINDING,
    CLUSTER_ROLE_BINDING,
    TOKEN_REVIEW,
    SELF_SUBJECT_REVIEW,
    ACCESS_REVIEW,
    SELF_ACCESS_REVIEW,
    LOCAL_ACCESS_REVIEW,
    SELF_RULES_REVIEW,
    NETWORK_POLICY,
    CLUSTER_NETWORK_POLICY,
    ADMIN_NETWORK_POLICY,
    BASELINE_ADMIN_NETWORK_POLICY,
    POLICY_NODE_STATUS,
    CUSTOM_RESOURCE_DEFINITION,
    MUTATING_WEBHOOKS,
    VALIDATING_WEBHOOKS,
)


class ResourceTable:
    """The kinds that a server serves, found by path or by kind.

    `rows` has each version, `kinds` one row for all versions of a kind.
    """

    def __init__(self, rows: Iterable[ResourceDef] = BUILT_IN) -> None:
        self._built_in = tuple(rows)
        self._custom: dict[str, tuple[ResourceDef, ...]] = {}
        self._index()

    def serve(self, definition: str, rows: tuple[ResourceDef, ...]) -> None:
        """Serve the rows of a CRD in place of those it had, and of a built-in kind of its name."""
        self._custom[definition] = rows
        self._index()

    def _index(self) -> None:
        custom = tuple(row for rows in self._custom.values() for row in rows)
        taken = {(row.group, row.plural) for row in custom}
        kept = (row for row in self._built_in if (row.group, row.plural) not in taken)
        self.rows = (*kept, *custom)
        self.kinds = tuple({row.home: row for row in reversed(self.rows)}.values())[::-1]
        self._by_path = {(row.group, row.version, row.plural): row for row in self.rows}
        self._by_kind = {(row.api_version, row.kind): row for row in self.rows}

    def at(self, group: str, version: str, plural: str) -> ResourceDef | None:
        """Return the kind under an API path, or None."""
        return self._by_path.get((group, version, plural))

    def of_kind(self, api_version: str, kind: str) -> ResourceDef | None:
        """Return the kind that an object says it is, or None."""
        return self._by_kind.get((api_version, kind))

    def group_versions(self) -> tuple[tuple[str, str], ...]:
        """Return each (group, version) once, in the order of the rows."""
        return tuple(dict.fromkeys((row.group, row.version) for row in self.rows))

    def in_group(self, group: str, version: str) -> tuple[ResourceDef, ...]:
        """Return the kinds of one group and version."""
        return tuple(row for row in self.rows if (row.group, row.version) == (group, version))
