"""A pool, its journal and a cloud, driven by hand: who answers when, and what gets lost.

Nothing runs by itself: commands queue up in `pending` until a test carries them out, loses the
answer, or lets the process die.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

from terway.agent.pool_calls import Calls, Ports
from terway.agent.pool_journal import WallClock, diff_durable
from terway.agent.pool_revival import revive
from terway.ipam.commands import Bind, CloudCommand, FlushConntrack, Refuse
from terway.ipam.events import (
    Acquire,
    Configured,
    ConntrackCleared,
    Event,
    Failed,
    Release,
    Tick,
    Withdraw,
)
from terway.ipam.failure import Failure, FailureKind, classify
from terway.ipam.fit import ORDINARY
from terway.ipam.pool import Pool
from terway.ipam.settings import PoolConfig
from terway.ipam.step import step
from terway.ipam.values import AddressPhase, PrefixPhase
from terway.ipam.wake import wake_at
from terway.model.address import Family, IPAddress
from terway.model.attachment import Attachment, AttachmentKey, Lease
from terway.model.errors import CapacityError, VpcError
from terway.model.ids import ContainerId, MacAddress
from terway.model.interface import Placement
from terway.model.moment import Moment
from terway.store.memory import Disk, apply_batch
from tests.support.model_cloud import GROUP, INSTANCE, ZONE, ModelCloud

Kind = TypeVar("Kind")
DUAL = (Family.V4, Family.V6)
TRANSIENT = Failure(kind=FailureKind.TRANSIENT, reason="lost")
CLOCK = WallClock(ahead_s=1_000_000.0)


def owner(number: int) -> AttachmentKey:
    return AttachmentKey(container_id=ContainerId(f"c{number}"), ifname="eth0")


def pool_config(cloud: ModelCloud, **changes: Any) -> PoolConfig:
    """Return a configuration that fits `cloud`."""
    config = PoolConfig(
        instance_id=INSTANCE,
        zone_id=ZONE,
        families=DUAL,
        vswitch_ids=tuple(cloud.vswitches),
        security_group_ids=(GROUP,),
        eni_slots=cloud.eni_slots,
        max_enis=cloud.eni_slots,
        ipv4_per_eni=cloud.per_eni,
        ipv6_per_eni=cloud.per_eni,
        token_seed="boot0",
    )
    return replace(config, **changes)


class AsyncCloud:
    """A ModelCloud with the client's asynchronous methods, and a turn of the loop in each."""

    def __init__(self, cloud: ModelCloud) -> None:
        self._cloud = cloud

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._cloud, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            return method(*args, **kwargs)

        return call


class ReadyLinks:
    async def wait_eni_ready(self, mac: MacAddress) -> None:
        return None


class EmptyConntrack:
    async def delete_entries(self, addresses: object) -> None:
        return None


class World:
    """One node's pool on one cloud. `leases` is what owners were told and did not give back."""

    def __init__(self, cloud: ModelCloud | None = None, **changes: Any) -> None:
        self.cloud = cloud or ModelCloud()
        self.config = pool_config(self.cloud, **changes)
        self.now = 100.0
        self.disk = Disk()
        self.pool = Pool.empty(self.config, now=self.now)
        self.pending: list[CloudCommand] = []
        self.leases: dict[AttachmentKey, Lease] = {}
        self.refused: dict[AttachmentKey, Refuse] = {}
        self.rests: set[IPAddress] = set()  # what the kernel may remember
        self.starts = 0
        self.without_room = 0  # calls that the cloud refused because something is used up

    # What happens to the pool.

    def happen(self, event: Event) -> None:
        """Step the pool; what changed is in the journal at once."""
        before = self.pool
        self.pool, commands = step(before, event, now=self.now)
        batch = diff_durable(before, self.pool, CLOCK)
        binds = [one for one in commands if isinstance(one, Bind)]
        gone = (event.owner,) if isinstance(event, Release | Withdraw) else ()
        batch = replace(batch, put=(*batch.put, *map(_attachment, binds)), delete_attachments=gone)
        error = apply_batch(self.disk, batch)
        assert error is None, error
        for command in commands:
            self._take(command)
        assert wake_at(self.pool, self.now) > self.now

    def _take(self, command: object) -> None:
        match command:
            case Bind():
                self._granted(command)
            case Refuse():
                self.refused[command.owner] = command
            case _:
                self.pending.append(command)  # type: ignore[arg-type]  # all others are calls

    def _granted(self, bind: Bind) -> None:
        for address in bind.lease.addresses:
            assert address not in self.rests, f"{address} was given again, and not flushed before"
        self.leases[bind.owner] = bind.lease

    def acquire(self, number: int, placement: Placement = ORDINARY) -> None:
        self.refused.pop(owner(number), None)
        self.happen(Acquire(owner=owner(number), placement=placement))

    def configure(self, **changes: Any) -> None:
        """Tell the pool something else while it lives."""
        self.config = replace(self.config, **changes)
        self.happen(Configured(config=self.config))

    def withdraw(self, number: int) -> None:
        self.leases.pop(owner(number), None)
        self.happen(Withdraw(owner=owner(number)))

    def release(self, number: int) -> None:
        self.release_key(owner(number))

    def release_key(self, key: AttachmentKey) -> None:
        lease = self.leases.pop(key, None)
        self.rests |= set(lease.addresses if lease else ())
        self.happen(Release(owner=key))

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.happen(Tick())

    def wake(self) -> None:
        """Let the time pass until the pool wants to be stepped."""
        self.now = max(self.now, min(wake_at(self.pool, self.now), self.now + 3600.0))
        self.happen(Tick())

    # What happens to its calls.

    def perform(self, index: int = 0) -> None:
        """Carry out a pending command and tell the pool."""
        command = self.pending.pop(index % len(self.pending))
        self.happen(self._outcome(command))

    def lose_answer(self, index: int = 0) -> None:
        """Carry out a pending command, but lose the answer."""
        command = self.pending.pop(index % len(self.pending))
        if not isinstance(command, FlushConntrack):
            self._outcome(command)
        self.happen(Failed(command=command, failure=TRANSIENT))

    def fail(self, failure: Failure = TRANSIENT, index: int = 0) -> None:
        """Let a pending command fail without having done anything."""
        command = self.pending.pop(index % len(self.pending))
        self.happen(Failed(command=command, failure=failure))

    def _outcome(self, command: CloudCommand) -> Event:
        if isinstance(command, FlushConntrack):
            self.rests -= set(command.addresses)
            return ConntrackCleared(addresses=command.addresses)
        calls = Calls(self.config, _ports(self.cloud), lambda: self.now)
        try:
            return asyncio.run(calls.carry_out(command))
        except CapacityError as error:
            self.without_room += 1
            return Failed(command=command, failure=classify(error))
        except VpcError as error:
            return Failed(command=command, failure=classify(error))

    def crash(self, done: Callable[[CloudCommand], bool] = lambda _: False) -> None:
        """Die and start again; pending commands were carried out or not, as `done` says."""
        for command in self.pending:
            if done(command) and not isinstance(command, FlushConntrack):
                self._outcome(command)
        self.pending = []
        self.starts += 1
        self.config = replace(self.config, token_seed=f"boot{self.starts}")
        self.now += 0.5
        self.pool = revive(self.config, self.disk.journal(), CLOCK, now=self.now)
        self.happen(Tick())

    def settle(self, *, steps: int = 400) -> None:
        """Carry out everything, and let time pass until the pool wants nothing but to look."""
        quiet = 0
        for _ in range(steps):
            if self.pending:
                self.perform()
                continue
            quiet = quiet + 1 if not self.is_busy() else 0
            if quiet > 3:
                return
            self.wake()
        raise AssertionError(f"not settled after {steps} steps: {self.pool}")

    def work(self, seconds: float) -> None:
        """Carry out everything for some seconds, in which nothing goes wrong."""
        until = self.now + seconds
        for _ in range(200):
            if self.pending:
                self.perform()
            elif wake_at(self.pool, self.now) <= until:
                self.wake()
            else:
                break
        self.sleep(max(0.0, until - self.now))

    def work_on(self) -> None:
        """Carry out the next command, or else let time pass until there is one."""
        if self.pending:
            self.perform()
        else:
            self.wake()

    def is_busy(self) -> bool:
        """Return whether the pool has something to do, apart from looking at the cloud."""
        moving = (AddressPhase.COOLING, AddressPhase.RETIRING)
        return bool(
            self.pool.intents
            or self.pool.waiting
            or self.pool.surplus_since is not None
            or any(eni.phase.value != "in use" for eni in self.pool.enis.values())
            or any(slot.phase in moving for slot in self.pool.slots.values())
            or any(one.phase is PrefixPhase.RETIRING for one in self.pool.prefixes.values())
        )

    def free_pairs(self) -> int:
        """Return how many pods could be served at once."""
        from terway.ipam.census import take_census

        return sum(tally.free_pairs for tally in take_census(self.pool).values())

    def commands(self, kind: type[Kind]) -> list[Kind]:
        return [one for one in self.pending if isinstance(one, kind)]


def _ports(cloud: ModelCloud) -> Ports:
    return Ports(
        cloud=AsyncCloud(cloud),  # type: ignore[arg-type]  # made of __getattr__
        store=None,  # type: ignore[arg-type]  # calls do not touch it
        links=ReadyLinks(),
        conntrack=EmptyConntrack(),
    )


def _attachment(bind: Bind) -> Attachment:
    return Attachment(
        key=bind.owner,
        network="terway",
        netns="/n",
        pod=None,
        lease=bind.lease,
        made_at=Moment(boot_id="b", seconds=1.0),
    )
