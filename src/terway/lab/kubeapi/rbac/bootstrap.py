"""Which roles does every cluster begin with?

Those of the real server that somebody here uses, or that charts refer to. admin, edit and view
are the sums of the roles that are labelled for them, as in the real one: a chart adds its own.
Source: k8s.io/kubernetes plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go, v1.32.
"""

from __future__ import annotations

from collections.abc import Iterator

from terway.lab.kubeapi.objects import Object
from terway.lab.kubeapi.rbac.users import AUTHENTICATED, MASTERS, UNAUTHENTICATED
from terway.lab.kubeapi.rbac.validation import GROUP
from terway.lab.kubeapi.resources import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ResourceDef

_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_CORE = [
    "configmaps",
    "endpoints",
    "pods",
    "pods/log",
    "pods/status",
    "serviceaccounts",
    "services",
]
_APPS = [
    *("controllerrevisions", "daemonsets", "daemonsets/status"),
    *("deployments", "deployments/scale", "deployments/status"),
    *("replicasets", "replicasets/scale", "replicasets/status"),
    *("statefulsets", "statefulsets/scale", "statefulsets/status"),
]
_SEEN = ["events", "limitranges", "namespaces", "resourcequotas"]
_HEALTH = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
_DISCOVERY = ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *_HEALTH]


def _rule(groups: list[str], resources: list[str], verbs: list[str]) -> Object:
    return {"apiGroups": groups, "resources": resources, "verbs": verbs}


def _urls(urls: list[str]) -> Object:
    return {"nonResourceURLs": urls, "verbs": ["get"]}


_POLICIES = ["networkpolicies"]
_VIEW = (
    _rule([""], [*_CORE, *_SEEN], _READ),
    _rule(["apps"], _APPS, _READ),
    _rule(["discovery.k8s.io"], ["endpointslices"], _READ),
    _rule(["networking.k8s.io"], _POLICIES, _READ),
)
_EDIT = (
    _rule([""], ["configmaps", "events", "pods", "secrets", "serviceaccounts", "services"], _WRITE),
    _rule([""], ["secrets"], _READ),
    _rule([""], ["pods/eviction", "serviceaccounts/token"], ["create"]),
    _rule([""], ["serviceaccounts"], ["impersonate"]),
    _rule(["apps"], [one for one in _APPS if not one.endswith("/status")], _WRITE),
    _rule(["coordination.k8s.io"], ["leases"], [*_WRITE, *_READ]),
    _rule(["networking.k8s.io"], _POLICIES, _WRITE),
)
_ADMIN = (
    _rule([GROUP], ["rolebindings", "roles"], [*_WRITE, *_READ]),
    _rule(["authorization.k8s.io"], ["localsubjectaccessreviews"], ["create"]),
)
_EVERYTHING = (_rule(["*"], ["*"], ["*"]), {"nonResourceURLs": ["*"], "verbs": ["*"]})
_BASIC = (
    _rule(
        ["authorization.k8s.io"],
        ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
        ["create"],
    ),
    _rule(["authentication.k8s.io"], ["selfsubjectreviews"], ["create"]),
)
_AUTH_DELEGATOR = (
    _rule(["authentication.k8s.io"], ["tokenreviews"], ["create"]),
    _rule(["authorization.k8s.io"], ["subjectaccessreviews"], ["create"]),
)


def bootstrap_roles() -> Iterator[tuple[ResourceDef, Object]]:
    """Yield the roles and bindings, each with its kind."""
    yield _role("cluster-admin", _EVERYTHING)
    yield _role("system:discovery", (_urls(_DISCOVERY),))
    yield _role("system:public-info-viewer", (_urls(_HEALTH),))
    yield _role("system:basic-user", _BASIC)
    yield _role("system:auth-delegator", _AUTH_DELEGATOR)
    for name, rules, also in (
        ("admin", _ADMIN, ()),
        ("edit", _EDIT, ("admin",)),
        ("view", _VIEW, ("edit", "admin")),
    ):
        yield _role(f"system:aggregate-to-{name}", rules, aggregated_to=(name, *also))
        yield _sum(name)
    yield _binding("cluster-admin", MASTERS)
    yield _binding("system:discovery", AUTHENTICATED)
    yield _binding("system:basic-user", AUTHENTICATED)
    yield _binding("system:public-info-viewer", AUTHENTICATED, UNAUTHENTICATED)


def _label(name: str) -> str:
    return f"{GROUP}/aggregate-to-{name}"


def _metadata(name: str, **labels: str) -> Object:
    return {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults", **labels}}


def _role(
    name: str, rules: tuple[Object, ...], *, aggregated_to: tuple[str, ...] = ()
) -> tuple[ResourceDef, Object]:
    labels = {_label(one): "true" for one in aggregated_to}
    return CLUSTER_ROLE, {"metadata": _metadata(name, **labels), "rules": list(rules)}


def _sum(name: str) -> tuple[ResourceDef, Object]:
    selectors = [{"matchLabels": {_label(name): "true"}}]
    role = {"metadata": _metadata(name), "aggregationRule": {"clusterRoleSelectors": selectors}}
    return CLUSTER_ROLE, role


def _binding(name: str, *groups: str) -> tuple[ResourceDef, Object]:
    binding = {
        "metadata": _metadata(name),
        "roleRef": {"kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "Group", "name": group} for group in groups],
    }
    return CLUSTER_ROLE_BINDING, binding
