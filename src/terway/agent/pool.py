"""The loop that owns the node's one pool: events in, the journal written, commands carried out.

```
acquire, release ──event──►  step ──► what changed ──► journal (one batch, one flush)
answers of calls ──event──►   │                            │ durable
the clock        ──Tick───►   └──► commands ───────────────┴──► calls ──► events
```

Nothing is decided here. The pool changes between two awaits, never across one, and every batch is
queued in the same moment, so that the journal goes through the same states as the pool.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import structlog

from terway.agent.lost import PodTeller, tell_lost
from terway.agent.moments import read_moment
from terway.agent.pool_calls import Calls, Ports
from terway.agent.pool_journal import WallClock, diff_durable
from terway.agent.pool_ports import ManagedENI, PoolStatus
from terway.agent.pool_revival import revive
from terway.agent.pool_status import managed_eni, managed_enis, status_of
from terway.ipam.commands import (
    Bind,
    CloudCommand,
    Command,
    Observe,
    ObserveVSwitches,
    Refuse,
)
from terway.ipam.events import (
    Acquire,
    Assigned,
    Configured,
    Created,
    Event,
    Failed,
    Observed,
    Release,
    Tick,
    Withdraw,
)
from terway.ipam.failure import classify
from terway.ipam.pool import Pool
from terway.ipam.settings import PoolConfig
from terway.ipam.step import step
from terway.ipam.wake import wake_at
from terway.model.attachment import Attachment, AttachmentKey, PodRef
from terway.model.errors import BugError, CapacityError, VpcError
from terway.model.ids import ENIId
from terway.model.interface import InterfaceSpec
from terway.model.moment import Moment
from terway.store.records import Batch

_log = structlog.get_logger()
_ORDINARY = InterfaceSpec()
_LONGEST_SLEEP_S = 3600.0
_LEAST_SLEEP_S = 1e-6
_LONG_S = 10.0  # an ADD that waits so long for an address is told of at its pod


@dataclass(slots=True, kw_only=True)
class _Ask:
    """ADDs that wait for one attachment; a retry joins the one that is still waiting."""

    network: str
    netns: str
    pod: PodRef | None
    spec: InterfaceSpec
    granted: asyncio.Future[Attachment]
    waiters: int = 0
    is_answered: bool = False


class PoolService:
    """The node's pool, for the CNI verbs. `restore` once, then `run`; both before the first ADD.

    An ADD that comes before `run` gets a free address if there is one, else it waits.
    """

    def __init__(
        self,
        config: PoolConfig,
        ports: Ports,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        moment: Callable[[], Moment] = read_moment,
        teller: PodTeller | None = None,
    ) -> None:
        self.on_change: Callable[[], None] = lambda: None  # after each step
        self._config = config
        self._store = ports.store
        self._conntrack = ports.conntrack
        self._calls = Calls(config, ports, clock)
        self._clock = clock
        self._moment = moment
        self._teller = teller
        self._times = WallClock(ahead_s=wall_clock() - clock())
        self._stepped_at = clock()
        self._pool = Pool.empty(config, now=self._stepped_at)
        self._attachments: dict[AttachmentKey, Attachment] = {}
        self._asks: dict[AttachmentKey, _Ask] = {}
        self._durable: asyncio.Future[None] | None = None  # of the last batch
        self._pending: list[tuple[CloudCommand, asyncio.Future[None] | None]] = []
        self._tasks: asyncio.TaskGroup | None = None
        self._woken = asyncio.Event()
        self._broken: BaseException | None = None

    async def restore(self) -> None:
        """Read the journal and, if it answers, the cloud; adopt what is there.

        A cloud that does not answer is no reason to wait: pods that run keep their addresses,
        what the journal knows to be free can be given out, and `run` asks again.
        Raises StoreError.
        """
        journal = await self._store.load()
        self._attachments = {one.key: one for one in journal.attachments}
        self._pool = revive(self._config, journal, self._times, now=self._clock())
        self._advance(Tick())
        readings = [one for one in self._pending if isinstance(one[0], Observe | ObserveVSwitches)]
        for reading in readings:
            self._pending.remove(reading)
            await self._perform(*reading)

    async def run(self) -> None:
        """Keep the pool as it should be, until cancelled. Raises StoreError for a lost journal."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                pending, self._pending = self._pending, []
                for command, durable in pending:
                    self._start(command, durable)
                await self._tick()
            finally:
                self._tasks = None

    async def acquire(
        self,
        key: AttachmentKey,
        *,
        network: str,
        netns: str,
        pod: PodRef | None,
        spec: InterfaceSpec = _ORDINARY,
    ) -> Attachment:
        """Return the attachment of `key`, with its addresses; it is in the journal by then.

        A repeated call returns the same. Waits until an address is there or the caller's timeout
        cancels: then the demand is withdrawn, and what was given meanwhile is taken back.
        Raises CapacityError, with the reason, when there is no hope for an address now.
        """
        held = self._attachments.get(key)
        if held is not None and key not in self._asks:
            await self._flushed()
            return held
        ask = self._ask(key, network=network, netns=netns, pod=pod, spec=spec)
        ask.waiters += 1
        try:
            self._advance(Acquire(owner=key, placement=spec.placement))
            attachment = await self._granted(ask)
            await self._flushed()
            ask.is_answered = True
            return attachment
        finally:
            self._leave(key, ask)

    async def _granted(self, ask: _Ask) -> Attachment:
        """Return what is given, and tell the pod when it takes long."""
        if not ask.granted.done() and ask.pod is not None and self._teller is not None:
            try:
                async with asyncio.timeout(_LONG_S):
                    return await asyncio.shield(ask.granted)
            except TimeoutError:
                self._teller.tell_pod(ask.pod, "AllocIPWaits", _why_waiting(self._config))
        return await asyncio.shield(ask.granted)

    def _ask(
        self,
        key: AttachmentKey,
        *,
        network: str,
        netns: str,
        pod: PodRef | None,
        spec: InterfaceSpec,
    ) -> _Ask:
        if key not in self._asks:
            granted: asyncio.Future[Attachment] = asyncio.get_running_loop().create_future()
            self._asks[key] = _Ask(
                network=network, netns=netns, pod=pod, spec=spec, granted=granted
            )
        return self._asks[key]

    def _leave(self, key: AttachmentKey, ask: _Ask) -> None:
        """Go from the queue; the last to go empty-handed takes the demand along."""
        ask.waiters -= 1
        if ask.waiters or self._asks.get(key) is not ask:  # a refused one has gone already
            return
        del self._asks[key]
        if not ask.is_answered:
            self._advance(Withdraw(owner=key))

    async def hold(self, attachment: Attachment) -> None:
        """Journal an attachment whose lease is not the pool's; durable on return.

        No connection of whoever had its addresses before is remembered then.
        """
        await self._conntrack.delete_entries(tuple(attachment.lease.addresses))
        self._attachments[attachment.key] = attachment
        self._write(Batch(put=(attachment,)))
        await self._flushed()

    async def release(self, key: AttachmentKey) -> None:
        """Forget the attachment of `key` and let its addresses rest; durable on return.

        To be called when the kernel is clean. Of what is not there, it is success.
        """
        held = self._attachments.get(key)
        if held is not None and held.spec.own_eni is not None:
            del self._attachments[key]
            self._write(Batch(delete_attachments=(key,)))
        elif held is not None:
            self._advance(Release(owner=key))
        await self._flushed()

    async def change(self, attachment: Attachment) -> None:
        """Journal what has changed of an attachment that is there; durable on return.

        Nothing if it has gone, or is another by now.
        """
        held = self._attachments.get(attachment.key)
        if held is None or held.made_at != attachment.made_at:
            return
        self._attachments[attachment.key] = attachment
        self._write(Batch(put=(attachment,)))
        await self._flushed()

    def attachment(self, key: AttachmentKey) -> Attachment | None:
        """Return the attachment of `key`, or None."""
        return self._attachments.get(key)

    def attachments(self) -> tuple[Attachment, ...]:
        """Return all attachments, the oldest first."""
        return tuple(self._attachments.values())

    @property
    def pool(self) -> Pool:
        """Return the pool as it is now."""
        return self._pool

    async def flushed(self) -> None:
        """Return when all that has changed so far is durable. Raises StoreError if it is lost."""
        await self._flushed()

    def status(self) -> PoolStatus:
        """Return what the pool could do now, and what it holds."""
        return status_of(self._pool, self._clock())

    def enis(self) -> tuple[ManagedENI, ...]:
        """Return the ENIs of the pool, in every phase."""
        return managed_enis(self._pool)

    def eni(self, eni_id: ENIId) -> ManagedENI | None:
        """Return one ENI of the pool, or None."""
        return managed_eni(self._pool, eni_id)

    def configure(self, config: PoolConfig) -> None:
        """Follow `config` from now on. Safe at any moment: what pods have, they keep.

        The instance and the tokens' seed stay those that the service was made with.
        """
        self._advance(Configured(config=config))
        self._config = self._pool.config

    def observe_soon(self) -> None:
        """Have the cloud read now: somebody saw that it is not as the pool believes."""
        self._pool = self._pool.observing_at(self._clock())
        self._advance(Tick())

    def _advance(self, event: Event) -> None:
        """Step the pool, queue what must be durable, and begin the commands."""
        before = self._pool
        self._stepped_at = self._clock()
        self._pool, commands = step(before, event, now=self._stepped_at)
        batch = diff_durable(before, self._pool, self._times)
        batch = self._with_attachments(batch, event, commands)
        if batch:
            self._write(batch)
        for command in commands:
            self._begin(command)
        if isinstance(event, Observed | Failed):  # what shows that the cloud took something away
            tell_lost(before, self._pool, self._attachments.get, self._teller)
        self._woken.set()
        self.on_change()

    def _with_attachments(self, batch: Batch, event: Event, commands: tuple[Command, ...]) -> Batch:
        gone = self._forget(event)
        made = tuple(self._attach(one) for one in commands if isinstance(one, Bind))
        return replace(batch, put=(*batch.put, *made), delete_attachments=gone)

    def _forget(self, event: Event) -> tuple[AttachmentKey, ...]:
        if not isinstance(event, Release | Withdraw):
            return ()
        return () if self._attachments.pop(event.owner, None) is None else (event.owner,)

    def _attach(self, bind: Bind) -> Attachment:
        ask = self._asks[bind.owner]
        attachment = Attachment(
            key=bind.owner,
            network=ask.network,
            netns=ask.netns,
            pod=ask.pod,
            lease=bind.lease,
            made_at=self._moment(),
            spec=ask.spec,
        )
        self._attachments[bind.owner] = attachment
        return attachment

    def _write(self, batch: Batch) -> None:
        durable = asyncio.ensure_future(self._store.write(batch))
        durable.add_done_callback(self._written)
        self._durable = durable

    def _written(self, durable: asyncio.Future[None]) -> None:
        """Note a write that failed: pool and journal have parted, only a new start mends that."""
        if not durable.cancelled() and durable.exception() is not None:
            self._broken = self._broken or durable.exception()
            self._woken.set()

    async def _flushed(self) -> None:
        """Wait until all that was written so far is durable."""
        if self._durable is not None and not self._durable.done():
            await asyncio.shield(self._durable)
        if self._broken is not None:
            raise self._broken

    def _begin(self, command: Command) -> None:
        match command:
            case Bind(owner=owner):
                self._asks[owner].granted.set_result(self._attachments[owner])
            case Refuse(owner=owner):
                ask = self._asks.pop(owner)
                error = CapacityError(command.reason, retry_after_s=command.retry_after_s)
                ask.granted.set_exception(error)
            case _ if self._tasks is None:
                self._pending.append((command, self._durable))
            case _:
                self._start(command, self._durable)

    def _start(self, command: CloudCommand, durable: Awaitable[None] | None) -> None:
        if self._tasks is None:
            raise BugError(f"{command} was begun outside run()")
        name = f"pool {type(command).__name__}"
        self._tasks.create_task(self._perform(command, durable), name=name)

    async def _perform(self, command: CloudCommand, durable: Awaitable[None] | None) -> None:
        """Carry out `command` once what it rests on is durable, and tell the pool."""
        if durable is not None:
            await asyncio.shield(durable)
        try:
            event = await self._calls.carry_out(command)
        except VpcError as error:
            event = Failed(command=command, failure=classify(error))
            _log.warning("pool.call_failed", command=type(command).__name__, error=str(error))
        else:
            if not isinstance(command, Observe | ObserveVSwitches):
                _log.info("pool.called", **_facts_of(command, event))
        self._advance(event)

    async def _tick(self) -> None:
        """Step the pool whenever time alone changes something."""
        while self._broken is None:
            self._woken.clear()
            # Alarms after the last step, not after this moment: on a busy machine one may have
            # passed between the two, and nobody would ever ring it.
            sleep_s = wake_at(self._pool, self._stepped_at) - self._clock()
            try:
                # The loop rings up to its clock's resolution early: then once more, but later.
                async with asyncio.timeout(min(max(sleep_s, _LEAST_SLEEP_S), _LONGEST_SLEEP_S)):
                    await self._woken.wait()
            except TimeoutError:
                self._advance(Tick())
        raise self._broken


def _facts_of(command: CloudCommand, event: Event) -> dict[str, object]:
    """Return what one log line says of a call that was answered."""
    match event:
        case Created(eni=eni):
            facts: dict[str, object] = {"eni_id": eni.id, "addresses": len(eni.ipv4)}
        case Assigned(addresses=addresses):
            facts = {"addresses": len(addresses)}
        case _:
            facts = {"eni_id": getattr(event, "eni_id", "")}
    return {"command": type(command).__name__, **facts}


def _why_waiting(config: PoolConfig) -> str:
    waits = f"no address of this node is free, and none came within {_LONG_S:.0f} s"
    if not config.is_supplied:
        return f"{waits}: the cloud has not answered yet; see `terway-cli show`"
    return (
        f"{waits}: the control plane gives this node its addresses; is it running? "
        "kubectl -n kube-system get pods -l app=terway-controlplane"
    )
