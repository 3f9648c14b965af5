"""How do objects get in from YAML? As `kubectl apply` would bring them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from terway.lab.kubeapi.errors import ApiError, bad_request
from terway.lab.kubeapi.objects import Object, metadata
from terway.lab.kubeapi.rbac.bootstrap import bootstrap_roles
from terway.lab.kubeapi.rbac.users import ADMIN
from terway.lab.kubeapi.resources import (
    ENDPOINT_SLICE,
    ENDPOINTS,
    NAMESPACE,
    SERVICE,
    SERVICE_ACCOUNT,
    ResourceDef,
)
from terway.lab.kubeapi.state import APPLY, ClusterState
from terway.lab.kubeapi.webhooks.admission import write_reviewed
from terway.lab.kubeapi.webhooks.reviews import Trial
from terway.lab.kubeapi.writes import WriteOptions
from terway.lab.kubeapi.yaml_text import load_yaml_documents

_OPTIONS = WriteOptions(field_manager="terway-lab", force=True, field_validation="Strict")
_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


def read_manifests(text: str) -> Iterator[Object]:
    """Yield the objects of a YAML text, those of List objects one by one."""
    for document in load_yaml_documents(text):
        if not document:
            continue
        if str(document.get("kind", "")).endswith("List") and "items" in document:
            yield from document["items"]
        else:
            yield document


def _resource_of(state: ClusterState, obj: Object) -> ResourceDef:
    api_version, kind = str(obj.get("apiVersion", "")), str(obj.get("kind", ""))
    resource = state.table.of_kind(api_version, kind)
    if resource is None:
        raise bad_request(f'no matches for kind "{kind}" in version "{api_version}"')
    return resource


def apply_manifests(state: ClusterState, text: str, *, namespace: str = "default") -> list[Object]:
    """Create or change the objects of a YAML text, in its order; return them as they are now.

    Objects without a namespace go to `namespace`. ApiError names the first object refused; those
    before it stay.
    """
    return [_apply(state, obj, namespace) for obj in read_manifests(text)]


async def apply_reviewed(
    state: ClusterState, text: str, *, namespace: str = "default"
) -> list[Object]:
    """Do the same by way of the admission webhooks, as for any user of the API."""
    return [
        await write_reviewed(state, partial(_apply, state, obj, namespace), user=ADMIN)
        for obj in read_manifests(text)
    ]


def _apply(state: ClusterState, obj: Object, namespace: str, trial: Trial | None = None) -> Object:
    options = replace(_OPTIONS, trial=trial, warnings=[])
    resource = _resource_of(state, obj)
    where = metadata(obj).get("namespace", namespace) if resource.namespaced else ""
    name = metadata(obj).get("name", "")
    if not name:
        return state.create(resource, obj, where, options).object
    return state.patch(resource, name, where, obj, kind=APPLY, options=options).object


def bootstrap(state: ClusterState, *, api_server: tuple[str, int] | None = None) -> None:
    """Create what every cluster begins with: namespaces, roles, the API server's own Service.

    Its slice and Endpoints are the API server's own to write, where it knows its address and port.
    """
    for name in _NAMESPACES:
        _create_once(state, NAMESPACE, {"metadata": {"name": name}})
        account = {"metadata": {"name": "default", "namespace": name}}
        _create_once(state, SERVICE_ACCOUNT, account)
    for resource, role in bootstrap_roles():
        _create_once(state, resource, role)
    kubernetes = {
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {"ports": [{"name": "https", "port": 443, "targetPort": 6443}]},
    }
    _create_once(state, SERVICE, kubernetes)
    if api_server is not None:
        _create_once(state, ENDPOINT_SLICE, _own_slice(*api_server))
        _create_once(state, ENDPOINTS, _own_endpoints(*api_server))


def _own_slice(address: str, port: int) -> Object:
    labels = {"kubernetes.io/service-name": "kubernetes"}
    return {
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "addressType": "IPv6" if ":" in address else "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }


def _own_endpoints(address: str, port: int) -> Object:
    labels = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    return {
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "subsets": [{"addresses": [{"ip": address}], "ports": ports}],
    }


def _create_once(state: ClusterState, resource: ResourceDef, obj: Object) -> None:
    try:
        state.create(resource, obj)
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
