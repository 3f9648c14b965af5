"""Which objects of the API does a pod refer to, and what is in them?"""

from __future__ import annotations

import base64
from typing import Any

from terway.kube.client import KubeClient
from terway.kube.resource import CONFIG_MAPS, Resource
from terway.lab.kubelet.environment import Data, Facts
from terway.lab.kubelet.podspec import Container, Pod
from terway.lab.kubelet.volumespec import Projection, Volume

SECRETS: Resource[dict[str, Any]] = Resource(
    group="", version="v1", plural="secrets", kind="Secret", namespaced=True, read_as=dict
)


async def read_facts(
    client: KubeClient, pod: Pod, *, pod_ips: tuple[str, ...], host_ips: tuple[str, ...]
) -> Facts:
    """Read what the pod refers to; an object that does not exist is None in the answer."""
    maps, secrets = references(pod)
    namespace = pod.metadata.namespace
    config_maps: dict[str, Data | None] = {}
    for name in sorted(maps):
        found = await client.get(CONFIG_MAPS, name, namespace=namespace)
        config_maps[name] = found.data if found is not None else None
    secret_data: dict[str, Data | None] = {}
    for name in sorted(secrets):
        secret = await client.get(SECRETS, name, namespace=namespace)
        secret_data[name] = _decode(secret) if secret is not None else None
    return Facts(
        pod=pod,
        pod_ips=pod_ips,
        host_ips=host_ips,
        config_maps=config_maps,
        secrets=secret_data,
    )


def references(pod: Pod) -> tuple[set[str], set[str]]:
    """Return the names of the ConfigMaps and of the Secrets that the pod refers to."""
    maps: set[str] = set()
    secrets: set[str] = set()
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        maps |= _maps_of(container)
        secrets |= _secrets_of(container)
    for volume in pod.spec.volumes:
        parts: list[Volume | Projection] = [volume]
        parts += volume.projected.sources if volume.projected else ()
        for part in parts:
            maps |= {part.config_map.name} if part.config_map else set()
            secrets |= {part.secret.secret_name or part.secret.name} if part.secret else set()
    return maps, secrets


def _maps_of(container: Container) -> set[str]:
    names = {one.config_map_ref.name for one in container.env_from if one.config_map_ref}
    sources = [one.value_from for one in container.env if one.value_from]
    return names | {one.config_map_key_ref.name for one in sources if one.config_map_key_ref}


def _secrets_of(container: Container) -> set[str]:
    names = {one.secret_ref.name for one in container.env_from if one.secret_ref}
    sources = [one.value_from for one in container.env if one.value_from]
    return names | {one.secret_key_ref.name for one in sources if one.secret_key_ref}


def _decode(secret: dict[str, Any]) -> Data:
    data: dict[str, str] = secret.get("data") or {}
    return {key: base64.b64decode(text).decode(errors="replace") for key, text in data.items()}
