"""Is this object one that its kind allows? Every refusal names the field.

Source: k8s.io/kubernetes pkg/apis/core/validation and pkg/apis/apps/validation, v1.32: what
users meet; the rest of those files is not here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from terway.lab.kubeapi import names
from terway.lab.kubeapi.causes import invalid_value, not_supported, required
from terway.lab.kubeapi.clusterpolicies import (
    validate_admin_network_policy,
    validate_baseline_admin_network_policy,
    validate_cluster_network_policy,
)
from terway.lab.kubeapi.customresources.definitions import (
    validate_definition,
    validate_definition_update,
)
from terway.lab.kubeapi.customresources.objects import validate_custom
from terway.lab.kubeapi.errors import Cause
from terway.lab.kubeapi.networkpolicy import validate_network_policy
from terway.lab.kubeapi.objects import Object, annotations_of, labels_of, metadata, read_path
from terway.lab.kubeapi.podvalidation import (
    validate_pod,
    validate_pod_spec,
    validate_pod_update,
)
from terway.lab.kubeapi.rbac.validation import (
    path_segment_fault,
    validate_binding,
    validate_binding_update,
    validate_role,
)
from terway.lab.kubeapi.resources import (
    ADMIN_NETWORK_POLICY,
    BASELINE_ADMIN_NETWORK_POLICY,
    CLUSTER_NETWORK_POLICY,
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    CUSTOM_RESOURCE_DEFINITION,
    DAEMON_SET,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    EVENT,
    MUTATING_WEBHOOKS,
    NAMESPACE,
    NETWORK_POLICY,
    POD,
    REPLICA_SET,
    ROLE,
    ROLE_BINDING,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    VALIDATING_WEBHOOKS,
    ResourceDef,
)
from terway.lab.kubeapi.secrets import validate_secret, validate_secret_update
from terway.lab.kubeapi.selectors import label_selector
from terway.lab.kubeapi.services.slices import validate_slice, validate_slice_update
from terway.lab.kubeapi.services.validation import validate_service, validate_service_update
from terway.lab.kubeapi.statefulsets import (
    validate_stateful_set,
    validate_stateful_set_update,
)
from terway.lab.kubeapi.webhooks.configurations import validate_configuration

_NAMED_AS_PATHS = (ROLE, CLUSTER_ROLE, ROLE_BINDING, CLUSTER_ROLE_BINDING)

_PERCENT = re.compile(r"^[0-9]+%$")
_ANNOTATIONS_LIMIT_BYTES = 256 * 1024


def validate(resource: ResourceDef, obj: Object, *, old: Object | None = None) -> tuple[Cause, ...]:
    """Return what is wrong with a whole object; of a custom one, with what is not as in `old`."""
    rules = _BY_KIND.get(resource)
    causes = [*_metadata(resource, obj)]
    if rules:
        causes += rules(obj)
    if resource.custom:
        causes += validate_custom(obj, resource.custom, old)
    return tuple(causes)


def validate_update(resource: ResourceDef, old: Object, new: Object) -> tuple[Cause, ...]:
    """Return what is wrong with a change; `new` has passed `validate`."""
    rules = _UPDATES_BY_KIND.get(resource)
    return tuple(rules(old, new)) if rules else ()


def _metadata(resource: ResourceDef, obj: Object) -> Iterator[Cause]:
    name = str(metadata(obj).get("name", ""))
    if not name:
        yield required("metadata.name", "name or generateName is required")
    elif fault := _name_fault(resource, name):
        yield invalid_value("metadata.name", name, fault)
    yield from _labels("metadata.labels", labels_of(obj))
    for index, owner in enumerate(metadata(obj).get("ownerReferences") or ()):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                yield required(f"metadata.ownerReferences[{index}].{field}")
    for key in annotations_of(obj):
        if not names.is_qualified_name(key):
            yield invalid_value("metadata.annotations", key, names.QUALIFIED_MESSAGE)
    size = sum(len(key) + len(value) for key, value in annotations_of(obj).items())
    if size > _ANNOTATIONS_LIMIT_BYTES:
        message = f"Too long: may not be more than {_ANNOTATIONS_LIMIT_BYTES} bytes"
        yield Cause(field="metadata.annotations", reason="FieldValueTooLong", message=message)


def _name_fault(resource: ResourceDef, name: str) -> str:
    if resource in _NAMED_AS_PATHS:
        return path_segment_fault(name)
    if resource is SERVICE:
        return "" if names.is_dns_1035_label(name) else names.LABEL_1035_MESSAGE
    if resource is NAMESPACE:
        return "" if names.is_dns_label(name) else names.LABEL_MESSAGE
    fine = resource is EVENT or names.is_dns_subdomain(name)
    return "" if fine else names.SUBDOMAIN_MESSAGE


def _labels(field: str, labels: dict[str, str]) -> Iterator[Cause]:
    for key, value in labels.items():
        if not names.is_qualified_name(key):
            yield invalid_value(field, key, names.QUALIFIED_MESSAGE)
        if not names.is_label_value(value):
            yield invalid_value(field, value, names.LABEL_VALUE_MESSAGE)


def _workload(obj: Object) -> Iterator[Cause]:
    selector = read_path(obj, "spec.selector")
    template_labels = read_path(obj, "spec.template.metadata.labels", {})
    if selector is None:
        yield required("spec.selector")
    elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
        why = "empty selector is invalid for this kind"
        yield invalid_value("spec.selector", "{}", why)
    elif not label_selector(selector)(template_labels):
        why = "`selector` does not match template `labels`"
        yield invalid_value("spec.template.metadata.labels", template_labels, why)
    yield from _strategy(obj)
    replicas = read_path(obj, "spec.replicas", 0)
    if replicas < 0:
        why = "must be greater than or equal to 0"
        yield invalid_value("spec.replicas", replicas, why)
    yield from _labels("spec.template.metadata.labels", template_labels)
    spec = read_path(obj, "spec.template.spec", {})
    yield from validate_pod_spec(spec, "spec.template.spec")
    if spec.get("restartPolicy") in ("OnFailure", "Never"):
        yield not_supported("spec.template.spec.restartPolicy", spec["restartPolicy"], ("Always",))


def _stateful_set(obj: Object) -> Iterator[Cause]:
    yield from _workload(obj)
    yield from validate_stateful_set(obj)


_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def _strategy(obj: Object) -> Iterator[Cause]:
    for index, held in enumerate(read_path(obj, "spec.selector.matchExpressions", ())):
        if held.get("operator") not in _OPERATORS:
            field = f"spec.selector.matchExpressions[{index}].operator"
            yield not_supported(field, str(held.get("operator", "")), _OPERATORS)
    for strategy in ("strategy", "updateStrategy"):
        for name, value in read_path(obj, f"spec.{strategy}.rollingUpdate", {}).items():
            if isinstance(value, str) and not _PERCENT.match(value):
                why = "a valid percent string must be a numeric string followed by an ending '%'"
                yield invalid_value(f"spec.{strategy}.rollingUpdate.{name}", value, why)


def _selector_update(old: Object, new: Object) -> Iterator[Cause]:
    before, after = read_path(old, "spec.selector"), read_path(new, "spec.selector")
    if before != after:
        yield invalid_value("spec.selector", after, "field is immutable")


_BY_KIND: dict[ResourceDef, Callable[[Object], Iterator[Cause]]] = {
    POD: validate_pod,
    DEPLOYMENT: _workload,
    REPLICA_SET: _workload,
    DAEMON_SET: _workload,
    STATEFUL_SET: _stateful_set,
    SECRET: validate_secret,
    SERVICE: validate_service,
    ENDPOINT_SLICE: validate_slice,
    NETWORK_POLICY: validate_network_policy,
    ROLE: validate_role,
    CLUSTER_ROLE: validate_role,
    ROLE_BINDING: validate_binding,
    CLUSTER_ROLE_BINDING: validate_binding,
    CLUSTER_NETWORK_POLICY: validate_cluster_network_policy,
    ADMIN_NETWORK_POLICY: validate_admin_network_policy,
    BASELINE_ADMIN_NETWORK_POLICY: validate_baseline_admin_network_policy,
    CUSTOM_RESOURCE_DEFINITION: validate_definition,
    MUTATING_WEBHOOKS: validate_configuration,
    VALIDATING_WEBHOOKS: validate_configuration,
}
_UPDATES_BY_KIND: dict[ResourceDef, Callable[[Object, Object], Iterator[Cause]]] = {
    POD: validate_pod_update,
    SECRET: validate_secret_update,
    SERVICE: validate_service_update,
    ENDPOINT_SLICE: validate_slice_update,
    DEPLOYMENT: _selector_update,
    REPLICA_SET: _selector_update,
    DAEMON_SET: _selector_update,
    STATEFUL_SET: validate_stateful_set_update,
    ROLE_BINDING: validate_binding_update,
    CLUSTER_ROLE_BINDING: validate_binding_update,
    CUSTOM_RESOURCE_DEFINITION: validate_definition_update,
}
