"""May an ADD answer yet? Not before what policies say of its pod is in force.

A pod that no policy selects waits for nothing but that all policies have been heard of; where it
has an ENI itself, also for the table inside that has its connections tracked from the first packet.
What takes too long fails the ADD with code 11 and the reason: the runtime tries again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from terway.agent.policy.engine import Engine
from terway.agent.policy.objects import uid_of, unseen_pod
from terway.agent.policy.seats import Seat, Seats, seat_of
from terway.agent.policy.view import View
from terway.kube.types import Pod
from terway.model.attachment import Attachment
from terway.model.errors import TransientError
from terway.model.exposition import Counter
from terway.policy.cluster import PodKey

PATIENCE_S = 10.0
NOT_IN_FORCE = "PolicyNotInForce"


class PolicyGate:
    """What ADD and DEL see of policy."""

    def __init__(
        self, *, view: View, seats: Seats, engine: Engine, patience_s: float = PATIENCE_S
    ) -> None:
        self._view = view
        self._seats = seats
        self._engine = engine
        self._patience_s = patience_s
        self._held: dict[PodKey, frozenset[PodKey]] = {}  # by a pod's name: what is here under it
        view.on_pod = self._reseat
        self.waits = Counter(
            name="terway_policy_add_total",
            text="ADDs by how they came past policy: free, waited, refused",
        )
        for outcome in ("free", "waited", "refused"):
            self._count(outcome, 0)

    def restore(self, attachments: Iterable[Attachment]) -> None:
        """Take over what the journal has. To be called once, before anything changes."""
        seats = _seats_of(attachments)
        self._seats.put(seats)
        for pod in dict.fromkeys(seat.pod for seat in seats):
            self._reseat(pod)
        self._engine.restored.set()

    def is_free(self, attachments: Sequence[Attachment], pod: Pod | None) -> bool:
        """Take note of the attachments of an ADD; return whether it need not wait (`admit`)."""
        seats = _seats_of(attachments)
        if not seats:
            return True  # Kubernetes does not know it, and so no policy does
        self._seats.put(seats)
        if pod is not None and self._view.is_synced:
            self._view.meet(unseen_pod(pod), uid=uid_of(pod))
        self._reseat(seats[0].pod)
        is_free = self._view.is_synced and self._is_let(seats[0].pod, seats)
        if is_free:
            self._count("free")
        return is_free

    async def admit(self, attachments: Sequence[Attachment], pod: Pod | None) -> None:
        """Return when policy is in force for the attachments of one ADD. Safe to repeat.

        Raises TransientError when that takes longer than `patience_s` seconds.
        """
        seats = _seats_of(attachments)
        key = seats[0].pod
        try:
            async with asyncio.timeout(self._patience_s):
                await self._wait(seats, pod)
        except TimeoutError as error:
            self._count("refused")
            text = f"what policies say of pod {key} is not in force after {self._patience_s:g} s: "
            raise TransientError(text + self._why(key), code=NOT_IN_FORCE) from error
        self._count("waited")

    def leave(self, attachment: Attachment) -> None:
        """Forget an attachment that is gone from the kernel. Nothing is waited for."""
        for seat in _seats_of((attachment,)):
            self._seats.drop(seat)
            self._reseat(seat.pod)  # another sandbox of the pod may be here

    async def _wait(self, seats: Sequence[Seat], pod: Pod | None) -> None:
        key = seats[0].pod
        await self._view.synced()
        if pod is not None:
            self._view.meet(unseen_pod(pod), uid=uid_of(pod))
        await self._view.knows_namespace(key.namespace)
        if not self._is_let(key, seats):
            await self._engine.in_force()
            if key in self._engine.refused:
                raise TransientError(self._why(key), code=NOT_IN_FORCE)

    def _is_let(self, key: PodKey, seats: Iterable[Seat]) -> bool:
        """Return whether nothing need be put in force for a pod that is here now."""
        return not any(seat.netns for seat in seats) and self._view.is_let(key)

    def _count(self, outcome: str, times: int = 1) -> None:
        self.waits.add((("outcome", outcome),), times)

    def _reseat(self, pod: PodKey) -> None:
        """Have it known what is here under a pod's name, and whether it is that pod."""
        if pod in self._view.pods.values:
            self._seats.tell_apart(pod, lambda seat: self._view.is_other(pod, seat.uid))
        held = self._seats.held(pod)
        for key in self._held.pop(pod, frozenset()) - held.keys():
            self._view.detach(key)
        for key, addresses in held.items():
            if self._view.attached.get(key) != addresses:
                self._view.attach(key, addresses)
        if held:
            self._held[pod] = frozenset(held)

    def _why(self, key: PodKey) -> str:
        if not self._view.is_synced:
            return f"the API server has not told them all yet: {'; '.join(self._view.troubles)}"
        if key.namespace not in self._view.namespaces.values:
            return f"namespace {key.namespace} has not been heard of"
        refusal = self._engine.refused.get(key, "")
        return (
            self._engine.state.trouble or refusal or "the packet filter is busy with other changes"
        )


def _seats_of(attachments: Iterable[Attachment]) -> tuple[Seat, ...]:
    return tuple(seat for one in attachments if (seat := seat_of(one)) is not None)
