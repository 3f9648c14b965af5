"""What must the pool and the kernel be able to do for the verbs?"""

from __future__ import annotations

from typing import Protocol

from terway.agent.interfaces import Interface, InterfacePolicy
from terway.agent.links import AttachedLinks
from terway.agent.pool_ports import PoolStatus
from terway.cni.call import Add
from terway.kube.types import Pod
from terway.model.attachment import Attachment, AttachmentKey, PodRef
from terway.model.ids import MacAddress
from terway.model.interface import InterfaceSpec


class Pool(Protocol):
    """The pool, as far as the verbs need it; `PoolService` is the real one."""

    async def acquire(
        self,
        key: AttachmentKey,
        *,
        network: str,
        netns: str,
        pod: PodRef | None,
        spec: InterfaceSpec,
    ) -> Attachment:
        """Return the attachment of `key`, journalled; the one it has, if it has one."""

    async def hold(self, attachment: Attachment) -> None:
        """Journal an attachment whose lease is not the pool's; durable on return."""

    async def release(self, key: AttachmentKey) -> None:
        """Forget `key` and cool its addresses; nothing if it is not known."""

    def attachment(self, key: AttachmentKey) -> Attachment | None:
        """Return the attachment of `key`, or None."""

    def attachments(self) -> tuple[Attachment, ...]:
        """Return all attachments."""

    def status(self) -> PoolStatus:
        """Return what the pool could do now."""


class Claims(Protocol):
    """Pods whose interfaces the control plane says; `agent.podeni_claims` is the real one."""

    def has_one(self, pod: Pod | None) -> bool:
        """Return whether the pod is one of them."""

    async def interfaces(
        self, call: Add, pod: Pod, policy: InterfacePolicy
    ) -> tuple[Interface, ...]:
        """Return its interfaces, with their leases, as soon as they are bound."""


class Network(Protocol):
    """The kernel's half of an attachment; `agent.network` is the real one."""

    async def attach(self, attachment: Attachment, *, mtu_bytes: int | None) -> AttachedLinks:
        """Make the kernel as the attachment wants it, whatever it was, and prove it."""

    async def prove(self, attachment: Attachment) -> bool:
        """Read it back and put right what is not as planned; return whether there was something."""

    async def detach(self, attachment: Attachment) -> None:
        """Remove what the attachment has in the kernel; nothing there is success."""

    async def differences(
        self, attachment: Attachment, *, pod_mac: MacAddress | None
    ) -> tuple[str, ...]:
        """Return what is missing of the attachment, in words; empty when all is there.

        `pod_mac` is what the pod's end must have, None for any.
        """
