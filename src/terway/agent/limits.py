"""What when a pod's limits or its priority change while it runs?

annotation ──watch──► journal ──► kernel: the queue changes, and what waits in it stays

The journal first, as for everything: a terwayd that is killed in between finds the new limit
there, and mends the kernel to it. A wish that cannot be read changes nothing and is told.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol

import structlog

from terway.agent.turns import Turns
from terway.config.pod_bandwidth import PARSE_FAILED, parse_bandwidth, parse_priority
from terway.kube.informer import Change
from terway.kube.types import Pod
from terway.model.attachment import Attachment, PodRef
from terway.model.errors import UsageError, VpcError
from terway.model.interface import UNLIMITED, Bandwidth, InterfaceSpec

_log = structlog.get_logger("limits")

PodChanges = Callable[[], AbstractContextManager[AsyncIterable[Change[Pod]]]]
"""Opens a stream of changed pods, which begins with those that are there."""


class Journal(Protocol):
    """Where attachments are kept."""

    def attachments(self) -> tuple[Attachment, ...]:
        """Return all of them."""

    async def change(self, attachment: Attachment) -> None:
        """Keep what has changed of one."""


class Limited(Protocol):
    """The kernel's half of an attachment."""

    async def hold_to_limits(self, attachment: Attachment) -> None:
        """Make the kernel hold the attachment to the limits that it has now."""


class Teller(Protocol):
    """Who tells a pod's user."""

    def tell_pod(self, pod: PodRef, reason: str, message: str) -> None:
        """Warn about a pod."""


class Limits:
    """Keeps limits and priorities as pods ask for them now."""

    def __init__(
        self,
        *,
        changes: PodChanges,
        journal: Journal,
        network: Limited,
        turns: Turns,
        teller: Teller,
        is_same: Callable[[Pod, PodRef], bool],
        fallback: Bandwidth = UNLIMITED,
    ) -> None:
        self._changes = changes
        self._journal = journal
        self._network = network
        self._turns = turns
        self._teller = teller
        self._is_same = is_same
        self._fallback = fallback

    async def run(self) -> None:
        """Follow the pods until cancelled."""
        with self._changes() as changes:
            async for change in changes:
                if change.new is not None:
                    await self._follow(change.new)

    async def _follow(self, pod: Pod) -> None:
        for attachment in self._journal.attachments():
            if attachment.pod is not None and self._is_about(pod, attachment.pod):
                await self._apply(pod, attachment, attachment.pod)

    def _is_about(self, pod: Pod, ref: PodRef) -> bool:
        named = (pod.metadata.namespace, pod.metadata.name) == (ref.namespace, ref.name)
        return named and self._is_same(pod, ref)

    async def _apply(self, pod: Pod, attachment: Attachment, ref: PodRef) -> None:
        try:
            wanted = self._wished(pod, attachment.spec)
            if wanted != attachment.spec:
                await self._change(replace(attachment, spec=wanted))
        except UsageError as error:
            self._teller.tell_pod(
                ref, error.code or PARSE_FAILED, f"limits stay as they are: {error}"
            )
        except VpcError as error:
            # The journal has the wish: the next look at the pod brings it into the kernel.
            _log.warning("limits.failed", attachment=str(attachment.key), error=str(error))

    def _wished(self, pod: Pod, spec: InterfaceSpec) -> InterfaceSpec:
        annotations = pod.metadata.annotations
        return replace(
            spec,
            bandwidth=parse_bandwidth(annotations, self._fallback),
            priority=parse_priority(annotations),
        )

    async def _change(self, attachment: Attachment) -> None:
        async with self._turns.turn(attachment.owner):
            await self._journal.change(attachment)
            if attachment not in self._journal.attachments():
                return  # it has gone meanwhile
            await self._network.hold_to_limits(attachment)
        _log.info(
            "limits.changed",
            attachment=str(attachment.key),
            ingress_bytes_s=attachment.spec.bandwidth.ingress,
            egress_bytes_s=attachment.spec.bandwidth.egress,
        )
