"""Which pod does an ADD speak of, and may it have an address?

The watch cache answers; the API server is asked only when the cache does not have the pod yet, or
has an older pod of the same name.
"""

from __future__ import annotations

from typing import Protocol

from terway.kube.client import KubeClient
from terway.kube.informer import Informer
from terway.kube.resource import PODS
from terway.kube.types import Pod
from terway.model.attachment import PodRef
from terway.model.errors import TransientError, UsageError

IGNORE_LABEL = "k8s.aliyun.com/ignore-by-terway"
# The API's image of a static pod: the runtime knows the pod by another uid.
_MIRROR = "kubernetes.io/config.mirror"


class PodSource(Protocol):
    """Where pods are looked up."""

    async def find(self, ref: PodRef) -> Pod | None:
        """Return the pod that `ref` names now, None when there is none."""


class WatchedPods:
    """The pods of this node: the cache first, then the API server."""

    def __init__(self, client: KubeClient, cache: Informer[Pod]) -> None:
        self._client = client
        self._cache = cache

    async def find(self, ref: PodRef) -> Pod | None:
        """Return the pod. Raises TransientError when the API server does not answer."""
        pod = self._cache.get(ref.name, namespace=ref.namespace)
        if pod is not None and is_same(pod, ref):
            return pod
        return await self._client.get(PODS, ref.name, namespace=ref.namespace)

    def is_gone(self, ref: PodRef) -> bool:
        """Return whether the cache is complete and has no such pod: a removed one, or replaced."""
        if not self._cache.synced.is_set():
            return False
        pod = self._cache.get(ref.name, namespace=ref.namespace)
        return pod is None or not is_same(pod, ref)


def is_same(pod: Pod, ref: PodRef) -> bool:
    """Return whether `pod` is the one meant, not another of the same name."""
    return ref.uid in {"", pod.metadata.uid} or _MIRROR in pod.metadata.annotations


def require_eligible(pod: Pod | None, ref: PodRef) -> Pod:
    """Return `pod` if it may have an address; UsageError and TransientError say why not."""
    if pod is None:
        raise TransientError(f"pod {ref} is not in the API server (yet)", code="PodNotFound")
    if not is_same(pod, ref):
        text = f"pod {ref} has uid {pod.metadata.uid} now, the sandbox is for {ref.uid}"
        raise TransientError(text, code="PodReplaced")
    if pod.spec.host_network:
        text = f"pod {ref} uses the host's network: it needs no attachment"
        raise UsageError(text, field="spec.hostNetwork")
    if pod.metadata.labels.get(IGNORE_LABEL) == "true":
        text = f"pod {ref} has the label {IGNORE_LABEL}=true: another plugin must serve it"
        raise UsageError(text, field="metadata.labels")
    return pod
