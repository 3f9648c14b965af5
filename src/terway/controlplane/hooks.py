"""Which webhook configurations does the API server have, and by which CA does it know us?

They are made here, not by the chart: what the server can do decides what they say. See
docs/decisions/0023. Everything else that somebody put on them, labels and so on, stays.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from terway.kube.client import KubeClient
from terway.kube.resource import Resource
from terway.model.errors import ConflictError, UsageError

_log = structlog.get_logger("webhook")

MUTATING_PATH, VALIDATING_PATH = "/mutating", "/validate"
OPTED_OUT = "k8s.aliyun.com/pod-eni"  # label of a namespace, "false"
IGNORED = "k8s.aliyun.com/ignore-by-terway"  # label of a pod, "true"
# Annotations by which a pod asks for a network of its own.
ASKING = tuple(
    f"k8s.aliyun.com/{name}"
    for name in ("pod-eni", "pod-networks", "pod-networks-request", "pod-networking")
)
_TIMEOUT_S = 10

Hook = dict[str, Any]


def _configurations(kind: str) -> Resource[dict[str, Any]]:
    return Resource(
        group="admissionregistration.k8s.io",
        version="v1",
        plural=f"{kind.lower()}s",
        kind=kind,
        namespaced=False,
        read_as=dict[str, Any],
    )


MUTATING = _configurations("MutatingWebhookConfiguration")
VALIDATING = _configurations("ValidatingWebhookConfiguration")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the API server finds us: by `url`, or by our Service if that is empty."""

    url: str
    name: str
    namespace: str

    def client_config(self, path: str, ca_pem: str) -> Mapping[str, Any]:
        """Return how to call `path`."""
        bundle = base64.b64encode(ca_pem.encode()).decode()
        if self.url:
            return {"url": f"{self.url}{path}", "caBundle": bundle}
        service = {"name": self.name, "namespace": self.namespace, "path": path, "port": 443}
        return {"service": service, "caBundle": bundle}


def mutating_hooks(place: Place, ca_pem: str, *, evaluates: bool) -> list[Hook]:
    """Return the entries for pods and PodNetworkings.

    Where the server `evaluates` conditions, pods that ask for a network wait for us: they are not
    made as long as we are away. All others are never held up.
    """
    pods: Hook = {
        "name": "pods.network.alibabacloud.com",
        "failurePolicy": "Ignore",
        "rules": [_rule("", "v1", "pods")],
        "namespaceSelector": _except(OPTED_OUT, "false"),
        "objectSelector": _except(IGNORED, "true"),
        "reinvocationPolicy": "IfNeeded",
    }
    networks: Hook = {
        "name": "podnetworkings.network.alibabacloud.com",
        "failurePolicy": "Ignore",
        "rules": [_rule("network.alibabacloud.com", "v1beta1", "podnetworkings")],
    }
    found = [pods, networks]
    if evaluates:
        asking: Hook = {**pods, "name": "asking.network.alibabacloud.com", "failurePolicy": "Fail"}
        asking["matchConditions"] = [{"name": "asks-for-a-network", "expression": asks()}]
        pods["matchConditions"] = [{"name": "asks-for-nothing", "expression": f"!({asks()})"}]
        found = [asking, *found]
    return [_hook(one, place.client_config(MUTATING_PATH, ca_pem)) for one in found]


def validating_hooks(place: Place, ca_pem: str) -> list[Hook]:
    """Return the entry for PodNetworkings: one that nobody has looked at is not made."""
    one: Hook = {
        "name": "podnetworkings.network.alibabacloud.com",
        "failurePolicy": "Fail",
        "rules": [_rule("network.alibabacloud.com", "v1beta1", "podnetworkings")],
    }
    return [_hook(one, place.client_config(VALIDATING_PATH, ca_pem))]


def asks() -> str:
    """Return the CEL expression that is true of a pod that asks for a network."""
    any_of = " || ".join(
        f"('{name}' in object.metadata.annotations && "
        f"!(object.metadata.annotations['{name}'] in ['', 'false']))"
        for name in ASKING
    )
    return f"has(object.metadata.annotations) && ({any_of})"


def _hook(said: Hook, client_config: Mapping[str, Any]) -> Hook:
    general = {
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "matchPolicy": "Equivalent",
        "timeoutSeconds": _TIMEOUT_S,
    }
    return {**general, **said, "clientConfig": dict(client_config)}


def _rule(group: str, version: str, resource: str) -> dict[str, Any]:
    return {
        "apiGroups": [group],
        "apiVersions": [version],
        "resources": [resource],
        "operations": ["CREATE"],
        "scope": "*",
    }


def _except(label: str, value: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": label, "operator": "NotIn", "values": [value]}]}


async def ensure_hooks(client: KubeClient, place: Place, ca_pem: str) -> bool:
    """Make or mend both configurations; return whether the server evaluates conditions.

    Safe to repeat, and to be done by several at a time.
    """
    validating = validating_hooks(place, ca_pem)
    await _ensure(client, VALIDATING, place.name, validating)
    if await _holds_conditions(client, place, ca_pem):
        return True
    await _ensure(client, MUTATING, place.name, mutating_hooks(place, ca_pem, evaluates=False))
    return False


async def _holds_conditions(client: KubeClient, place: Place, ca_pem: str) -> bool:
    """Say whether the entries stay as they are, with their conditions.

    A server before 1.27 drops the field, and would hold up every pod; so that is tried with an
    entry that fails open. Others refuse what they cannot evaluate.
    """
    wanted = mutating_hooks(place, ca_pem, evaluates=True)
    harmless = [{**one, "failurePolicy": "Ignore"} for one in wanted]
    try:
        found = await client.get(MUTATING, place.name)
        if found is None or not _has_conditions(found):
            found = await _ensure(client, MUTATING, place.name, harmless)
        if not _has_conditions(found):
            return False
        await _ensure(client, MUTATING, place.name, wanted)
    except UsageError as error:
        _log.info("webhook.no_conditions", error=str(error))
        return False
    return True


def _has_conditions(configuration: Mapping[str, Any]) -> bool:
    hooks = configuration.get("webhooks") or ()
    return any(one.get("matchConditions") for one in hooks)


async def _ensure(
    client: KubeClient, resource: Resource[dict[str, Any]], name: str, hooks: list[Hook]
) -> dict[str, Any]:
    while True:
        found = await client.get(resource, name)
        try:
            if found is None:
                return await client.create(
                    resource, {"metadata": {"name": name}, "webhooks": hooks}
                )
            if _covers(found.get("webhooks") or [], hooks):
                return found
            return await client.update(resource, {**found, "webhooks": hooks})
        except ConflictError:
            continue  # another instance was faster: look what it made of it


def _covers(found: Any, wanted: Any) -> bool:
    """Say whether `found` has all that is wanted; the server adds what it has by default."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            _covers(found.get(name), held) for name, held in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(map(_covers, found, wanted))
        )
    return bool(found == wanted)
