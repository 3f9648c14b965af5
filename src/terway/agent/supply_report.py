"""What does the control plane hear of this node's pods? `NodeRuntime.status`, written whole.

`held` is what pods have and what rests; the rest is free, and the control plane may ask for it.
`released` answers a recall, after what is not to be given any more has left the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from terway.agent.supply import recalls_of
from terway.ipam.pool import Pool
from terway.ipam.values import AddressPhase
from terway.kube.clock import format_time
from terway.kube.crds import HeldIP, NodeRuntimeStatus, PoolNode, RuntimeMoment, RuntimePod
from terway.model.address import IPAddress, IPNetwork
from terway.model.attachment import Attachment

_HELD = (AddressPhase.BOUND, AddressPhase.COOLING)
_REMEMBERED_S = 300.0  # a pod that is gone
_RESTS = HeldIP()


def held_of(pool: Pool, attachments: Iterable[Attachment]) -> dict[str, HeldIP]:
    """Return what may not be taken, and who has it."""
    holders = {ip: _holder(one) for one in attachments for ip in one.lease.addresses}
    held = (slot.address for slot in pool.slots.values() if slot.phase in _HELD)
    return {str(address): holders.get(address, _RESTS) for address in held}


def _holder(attachment: Attachment) -> HeldIP:
    """Return the holder; a container that Kubernetes does not know has its own name."""
    pod = attachment.pod
    if pod is None:
        return HeldIP(pod_id=str(attachment.key))
    return HeldIP(pod_uid=pod.uid, pod_id=str(pod))


def released_of(pool: Pool, node: PoolNode) -> dict[str, int]:
    """Return which recalls are answered: of all that is not known here (any more)."""
    known: set[IPAddress | IPNetwork] = {*pool.slots, *pool.prefixes}
    return {str(one): number for one, number in recalls_of(node).items() if one not in known}


class PodHistory:
    """When pods came and went. `clock` gives seconds since the epoch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pods: dict[str, RuntimePod] = {}
        self._gone_at: dict[str, float] = {}

    def follow(self, attachments: Iterable[Attachment]) -> Mapping[str, RuntimePod]:
        """Return the pods by uid, with those that went a short while ago."""
        now = self._clock()
        here = {a.pod.uid: str(a.pod) for a in attachments if a.pod is not None and a.pod.uid}
        moment = RuntimeMoment(last_update_time=format_time(now))
        for uid, pod_id in here.items():
            if uid not in self._pods or uid in self._gone_at:
                self._pods[uid] = RuntimePod(pod_id=pod_id, status={"initial": moment})
                self._gone_at.pop(uid, None)
        for uid in self._pods.keys() - here.keys() - self._gone_at.keys():
            self._gone_at[uid] = now
            pod = self._pods[uid]
            status = {**pod.status, "deleted": moment}
            self._pods[uid] = RuntimePod(pod_id=pod.pod_id, status=status)
        for uid in [one for one, at in self._gone_at.items() if now - at > _REMEMBERED_S]:
            del self._pods[uid], self._gone_at[uid]
        return dict(self._pods)


def report_of(
    pool: Pool, attachments: tuple[Attachment, ...], node: PoolNode | None, history: PodHistory
) -> NodeRuntimeStatus:
    """Return what is to be known of the node's pods now."""
    return NodeRuntimeStatus(
        pods=dict(history.follow(attachments)),
        held=held_of(pool, attachments),
        released={} if node is None else released_of(pool, node),
        waiting=len(pool.waiting),
        seen="" if node is None else node.metadata.resource_version,
    )
