"""Which environment does a container's process get? Pure: objects in, a dict out.

Order and expansion as the kubelet has them: envFrom first, then env in order, and $(NAME) in a
value or command stands for a variable defined before it; $$(NAME) is the text $(NAME).
Source: kubelet makeEnvironmentVariables, k8s.io/kubernetes third_party/forked/golang/expansion.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING

from terway.lab.kubelet.podspec import Container, EnvVar, KeyRef, Pod
from terway.lab.kubelet.quantity import parse_quantity
from terway.lab.kubelet.volumespec import ResourceRef
from terway.model.errors import UsageError

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")

Data = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a pod may ask about itself and about the objects it refers to.

    `config_maps` and `secrets` map a name to its data; None is one that does not exist.
    """

    pod: Pod
    pod_ips: tuple[str, ...] = ()
    host_ips: tuple[str, ...] = ()
    config_maps: Mapping[str, Data | None] = field(default_factory=dict)
    secrets: Mapping[str, Data | None] = field(default_factory=dict)


def build_environment(container: Container, facts: Facts, *, hostname: str) -> dict[str, str]:
    """Return the environment of `container`. UsageError names a reference that leads nowhere."""
    env = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname, "HOME": "/root"}
    for source in container.env_from:
        for ref, kind, objects in (
            (source.config_map_ref, "configmap", facts.config_maps),
            (source.secret_ref, "secret", facts.secrets),
        ):
            if ref is not None:
                data = _data(objects, ref, kind)
                env |= {source.prefix + key: value for key, value in data.items()}
    for variable in container.env:
        value = _value(variable, container, facts)
        if value is not None:
            env[variable.name] = expand(value, env)
    return env


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace $(NAME) by the variable; unknown ones stay as they are."""

    def replacement(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return env.get(match[2], match[0])

    return _REFERENCE.sub(replacement, text)


def expand_all(words: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """Expand each word of a command."""
    return [expand(word, env) for word in words]


def field_of(facts: Facts, path: str) -> str:
    """Return a field of the pod for the downward API. UsageError for one it does not offer."""
    meta, spec = facts.pod.metadata, facts.pod.spec
    if match := _SUBSCRIPT.fullmatch(path):
        values = meta.labels if match[1] == "labels" else meta.annotations
        return values.get(match[2], "")
    fields = {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": meta.uid,
        "metadata.labels": _lines(meta.labels),
        "metadata.annotations": _lines(meta.annotations),
        "spec.nodeName": spec.node_name,
        "spec.serviceAccountName": spec.service_account_name,
        "status.hostIP": next(iter(facts.host_ips), ""),
        "status.hostIPs": ",".join(facts.host_ips),
        "status.podIP": next(iter(facts.pod_ips), ""),
        "status.podIPs": ",".join(facts.pod_ips),
    }
    if path not in fields:
        raise UsageError(f"fieldPath {path!r} is not one of {', '.join(fields)}", field="fieldPath")
    return fields[path]


def resource_of(container: Container, ref: ResourceRef) -> str:
    """Return a resource of the container in units of the divisor, rounded up; 0 when not set."""
    kind, _, name = ref.resource.partition(".")
    amounts = container.resources.limits if kind == "limits" else container.resources.requests
    divisor = parse_quantity(ref.divisor) or 1
    value = parse_quantity(amounts.get(name, 0)) / divisor
    return str(value.to_integral_value(rounding=ROUND_CEILING))


def _value(variable: EnvVar, container: Container, facts: Facts) -> str | None:
    source = variable.value_from
    if source is None:
        return variable.value
    if source.field_ref is not None:
        return field_of(facts, source.field_ref.field_path)
    if source.resource_field_ref is not None:
        return resource_of(container, source.resource_field_ref)
    if source.config_map_key_ref is not None:
        return _key(facts.config_maps, source.config_map_key_ref, "configmap")
    if source.secret_key_ref is not None:
        return _key(facts.secrets, source.secret_key_ref, "secret")
    return None


def _data(objects: Mapping[str, Data | None], ref: KeyRef, kind: str) -> Data:
    data = objects.get(ref.name)
    if data is None and not ref.optional:
        raise UsageError(f'{kind} "{ref.name}" not found')
    return data or {}


def _key(objects: Mapping[str, Data | None], ref: KeyRef, kind: str) -> str | None:
    data = _data(objects, ref, kind)
    if ref.key not in data and not ref.optional:
        raise UsageError(f"couldn't find key {ref.key} in {kind} {ref.name}")
    return data.get(ref.key)


def _lines(values: Mapping[str, str]) -> str:
    return "\n".join(f'{key}="{value}"' for key, value in sorted(values.items()))
