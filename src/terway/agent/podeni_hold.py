"""How does the journal have what a PodENI gave? As it is said, and once for each ENI.

The lease is the control plane's: nothing is taken from the pool, or comes back to it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from terway.agent.interfaces import Interface
from terway.agent.turns import Turns
from terway.agent.verb_ports import Pool
from terway.cni.call import Add
from terway.model.attachment import Attachment, AttachmentKey, PodRef
from terway.model.errors import TransientError
from terway.model.moment import Moment


async def hold(
    pool: Pool, one: Interface, call: Add, pod: PodRef | None, *, made_at: Moment
) -> Attachment:
    """Journal an interface that is not the pool's; return what is there of it already."""
    held = pool.attachment(one.key)
    if held is not None:
        return held
    assert one.lease is not None  # it is whose lease is not the pool's
    made = Attachment(
        key=one.key,
        network=call.conf.name,
        netns=call.netns,
        pod=pod,
        lease=one.lease,
        made_at=made_at,
        spec=one.spec,
    )
    await pool.hold(made)
    return made


async def forget_predecessors(
    owner: AttachmentKey,
    wanted: Iterable[Interface],
    *,
    pool: Pool,
    turns: Turns,
    forget: Callable[[AttachmentKey], Awaitable[None]],
) -> None:
    """Undo what earlier sandboxes have of ENIs that are `owner`'s now (bug class 24).

    Raises TransientError while one of them is being undone by its own DEL.
    """
    enis = {one.lease.eni_id for one in wanted if one.lease is not None}
    stale = {
        one.owner
        for one in pool.attachments()
        if one.lease.eni_id in enis and one.spec.own_eni is not None and one.owner != owner
    }
    for one in sorted(stale):
        if one in turns.changing:
            text = f"{one}, which has the same ENI, is being undone at this moment"
            raise TransientError(text, code="ENIBusy")
        async with turns.turn(one):
            await forget(one)
