"""How does the API hear of a pod's state? One writer a pod, which tells the newest state only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from terway.kube.client import KubeClient, PatchType
from terway.lab.kubelet.podspec import POD_RESOURCE, Pod
from terway.lab.kubelet.status import PodView, pod_status, status_patch
from terway.model.errors import ConflictError, VpcError

_RETRY_S = 1.0


class StatusWriter:
    """Writes a pod's status when it has changed. `pod` is the object as the API last had it."""

    def __init__(self, client: KubeClient, pod: Pod, view: Callable[[], PodView]) -> None:
        self.pod = pod
        self.is_gone = False  # the API has no such pod any more
        self._client = client
        self._view = view
        self._told: PodView | None = None
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Have the status written soon."""
        self._changed.set()

    async def run(self) -> None:
        """Write changes until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self.write()
            except VpcError:  # the newest state is written when the API is back
                await asyncio.sleep(_RETRY_S)
                self._changed.set()

    async def write(self) -> None:
        """Write the status as it is now, unless the API has it already."""
        view = self._view()
        if self.is_gone or view == self._told:
            return
        meta = self.pod.metadata
        # The uid keeps the patch away from a successor of the same name.
        status = pod_status(self.pod, view, now=time.time())
        patch = {"metadata": {"uid": meta.uid}, **status_patch(status)}
        try:
            self.pod = await self._client.patch(
                POD_RESOURCE,
                meta.name,
                patch,
                namespace=meta.namespace,
                kind=PatchType.STRATEGIC,
                subresource="status",
            )
        except ConflictError:
            self.is_gone = True
        self._told = view

    async def confirm_deletion(self) -> None:
        """Tell the API that nothing of the pod is left here: it drops the object then."""
        if self.is_gone:
            return
        meta = self.pod.metadata
        with suppress(ConflictError):  # the name belongs to another pod by now
            await self._client.delete(
                POD_RESOURCE, meta.name, namespace=meta.namespace, grace_s=0, uid=meta.uid
            )
