"""What must somebody who enforces policies offer the daemon and its verbs?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from terway.agent.readonly import Pages
from terway.kube.types import Pod
from terway.model.attachment import Attachment
from terway.model.exposition import Metric


class Gate(Protocol):
    """Whether policy is in force for a pod; `agent.policy.gate` is the real one."""

    def is_free(self, attachments: Sequence[Attachment], pod: Pod | None) -> bool:
        """Take note of the attachments of an ADD; return whether it need not wait."""

    async def admit(self, attachments: Sequence[Attachment], pod: Pod | None) -> None:
        """Return when policy is in force for them. Raises TransientError when it takes too long."""

    def leave(self, attachment: Attachment) -> None:
        """Forget an attachment that is gone; it is no matter if it was never heard of."""


class Policies(Protocol):
    """Who enforces policies; `agent.policy.service` is the real one."""

    @property
    def gate(self) -> Gate:
        """Return what ADD and DEL see of it."""

    def restore(self, attachments: Iterable[Attachment]) -> None:
        """Take over what the journal has."""

    async def run(self) -> None:
        """Enforce until cancelled."""

    def metrics(self) -> Iterable[Metric]:
        """Yield what there is in numbers."""

    def pages(self) -> Pages:
        """Return what is shown to tools."""
