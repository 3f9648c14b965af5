"""Is this a pod, or the template of one, that can run?

Source: k8s.io/kubernetes pkg/apis/core/validation/validation.go (ValidatePodSpec,
ValidatePodUpdate), v1.32: what users meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from terway.lab.kubeapi import names
from terway.lab.kubeapi.causes import forbidden_value, invalid_value, not_supported, required
from terway.lab.kubeapi.errors import Cause
from terway.lab.kubeapi.extended import validate_amounts
from terway.lab.kubeapi.gates import (
    frozen_spec,
    is_gated,
    validate_gates,
    validate_gates_update,
)
from terway.lab.kubeapi.objects import Object, read_path

_MUTABLE_POD_FIELDS = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")
_POD_UPDATE = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set "
    "to 1 if it was previously negative)"
)


def validate_pod(pod: Object) -> Iterator[Cause]:
    """Yield what is wrong with a pod."""
    yield from validate_pod_spec(pod.get("spec") or {}, "spec")


def validate_pod_spec(spec: dict[str, Any], path: str) -> Iterator[Cause]:
    """Yield what is wrong with the spec of a pod, or of a template, at `path`."""
    if not spec.get("containers"):
        yield required(f"{path}.containers")
    yield from validate_gates(spec, path)
    policies = ("Always", "OnFailure", "Never")
    if spec.get("restartPolicy") not in policies:
        yield not_supported(f"{path}.restartPolicy", str(spec.get("restartPolicy")), policies)
    seen: set[str] = set()
    volumes = {volume.get("name") for volume in spec.get("volumes") or ()}
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group) or ()):
            yield from _container(container, f"{path}.{group}[{index}]", seen, volumes)


def _container(
    container: dict[str, Any], path: str, seen: set[str], volumes: set[Any]
) -> Iterator[Cause]:
    name = container.get("name", "")
    if not name:
        yield required(f"{path}.name")
    elif not names.is_dns_label(name):
        yield invalid_value(f"{path}.name", name, names.LABEL_MESSAGE)
    elif name in seen:
        message = f'Duplicate value: "{name}"'
        yield Cause(field=f"{path}.name", reason="FieldValueDuplicate", message=message)
    seen.add(name)
    yield from validate_amounts(container.get("resources") or {}, f"{path}.resources")
    if not container.get("image"):
        yield required(f"{path}.image")
    for index, port in enumerate(container.get("ports") or ()):
        yield from _port(port, f"{path}.ports[{index}]")
    for index, variable in enumerate(container.get("env") or ()):
        if not variable.get("name"):
            yield required(f"{path}.env[{index}].name")
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        if mount.get("name") not in volumes:
            message = f'Not found: "{mount.get("name", "")}"'
            field = f"{path}.volumeMounts[{index}].name"
            yield Cause(field=field, reason="FieldValueNotFound", message=message)


def _port(port: dict[str, Any], path: str) -> Iterator[Cause]:
    number = port.get("containerPort", 0)
    if not number:
        yield required(f"{path}.containerPort")
    elif not 0 < number < 65536:
        yield invalid_value(
            f"{path}.containerPort", number, "must be between 1 and 65535, inclusive"
        )
    protocols = ("SCTP", "TCP", "UDP")
    if port.get("protocol", "TCP") not in protocols:
        yield not_supported(f"{path}.protocol", port["protocol"], protocols)


def validate_pod_update(old: Object, new: Object) -> Iterator[Cause]:
    """Yield what a change of a pod may not change."""
    gated = is_gated(old)
    if _frozen_part(old, gated=gated) != _frozen_part(new, gated=gated):
        yield forbidden_value("spec", _POD_UPDATE)
    yield from validate_gates_update(old, new)
    before = read_path(old, "spec.tolerations", [])
    after = read_path(new, "spec.tolerations", [])
    if any(held not in after for held in before):
        why = "existing toleration can not be modified except its tolerationSeconds"
        yield forbidden_value("spec.tolerations", why)


def _frozen_part(pod: Object, *, gated: bool) -> dict[str, Any]:
    spec = {
        field: value
        for field, value in frozen_spec(pod, gated=gated).items()
        if field not in _MUTABLE_POD_FIELDS
    }
    for group in ("containers", "initContainers"):
        spec[group] = [
            {field: value for field, value in container.items() if field != "image"}
            for container in spec.get(group) or ()
        ]
    return spec
