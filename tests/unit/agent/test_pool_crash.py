"""kill -9 at every point where the pool waits for its journal or the cloud, then a new start.

The runtime behaves as runtimes do: what was not answered is deleted and tried again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from terway.agent.pool import PoolService
from terway.agent.pool_calls import Ports
from terway.model.attachment import AttachmentKey, Lease
from terway.store.memory import Disk, MemoryStore, apply_batch
from terway.store.records import Batch
from tests.support.model_cloud import ModelCloud
from tests.support.pool_world import EmptyConntrack, ReadyLinks, owner, pool_config
from tests.support.virtual_time import run_virtually, virtual_clock

PODS = 8
GOING = 3  # of them are deleted again


class Death:
    """Counts the points at which a process can die, and lets it die at one of them."""

    def __init__(self, at: int | None) -> None:
        self.points = 0
        self.came = asyncio.Event()
        self._at = at

    def is_here(self) -> bool:
        """Pass a point; return whether the process is dead from now on."""
        self.points += 1
        if self.points == self._at:
            self.came.set()
        return self.came.is_set()


class MortalCloud:
    """A cloud whose caller may die before the call is made, or before it is answered."""

    def __init__(self, cloud: ModelCloud, death: Death) -> None:
        self._cloud = cloud
        self._death = death

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._cloud, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            await self._pass()
            answer = method(*args, **kwargs)
            await asyncio.sleep(0.3)
            await self._pass()
            return answer

        return call

    async def _pass(self) -> None:
        if self._death.is_here():
            await asyncio.Event().wait()


class MortalStore(MemoryStore):
    """A journal whose writer may die before a batch is on the disk, or right after."""

    def __init__(self, disk: Disk, death: Death) -> None:
        super().__init__(disk)
        self._mortal_disk = disk
        self._death = death

    def write(self, batch: Batch) -> Any:
        done = asyncio.get_running_loop().create_future()
        if not self._death.is_here():
            asyncio.get_running_loop().call_soon(self._write, batch, done)
        return done

    def _write(self, batch: Batch, done: asyncio.Future[None]) -> None:
        if self._death.came.is_set():
            return
        error = apply_batch(self._mortal_disk, batch)
        assert error is None, error
        if not self._death.is_here() and not done.cancelled():
            done.set_result(None)


@dataclass
class Runtime:
    """The container runtime: which pods it has, and what it was told."""

    answered: dict[AttachmentKey, Lease] = field(default_factory=dict)
    deleted: set[AttachmentKey] = field(default_factory=set)

    async def work(self, service: PoolService) -> None:
        """Bring all pods up and some down again, from wherever things stand."""
        numbers = range(PODS)
        await asyncio.gather(*(self._add(service, owner(number)) for number in numbers))
        await asyncio.gather(*(self._del(service, owner(number)) for number in range(GOING)))
        await asyncio.gather(*(self._add(service, owner(PODS + one)) for one in range(GOING)))

    async def _add(self, service: PoolService, key: AttachmentKey) -> None:
        if key in self.answered or key in self.deleted:
            return
        attachment = await service.acquire(key, network="terway", netns="/n", pod=None)
        self.answered[key] = attachment.lease

    async def _del(self, service: PoolService, key: AttachmentKey) -> None:
        if key in self.deleted:
            return
        self.answered.pop(key, None)
        await service.release(key)
        self.deleted.add(key)

    async def after_crash(self, service: PoolService) -> None:
        """Delete what was never answered: a failed ADD is followed by a DEL."""
        for attachment in service.attachments():
            if attachment.key not in self.answered:
                await service.release(attachment.key)


async def live(
    cloud: ModelCloud, disk: Disk, runtime: Runtime, *, death: Death, start: int
) -> PoolService:
    """Run an agent until it has done its work and all is quiet, or until it dies."""
    config = pool_config(cloud, min_free=1, max_free=2, token_seed=f"boot{start}")
    ports = Ports(
        cloud=MortalCloud(cloud, death),
        store=MortalStore(disk, death),
        links=ReadyLinks(),
        conntrack=EmptyConntrack(),
    )
    service = PoolService(config, ports, clock=virtual_clock, wall_clock=virtual_clock)

    async def life() -> None:
        await service.restore()
        async with asyncio.TaskGroup() as tasks:
            loop = tasks.create_task(service.run())
            await runtime.after_crash(service)
            await runtime.work(service)
            await asyncio.sleep(3000)
            loop.cancel()

    tasks = [asyncio.ensure_future(life()), asyncio.ensure_future(death.came.wait())]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()
    return service


async def _until_quiet(die_at: int | None) -> int:
    """Live, die at a point, live again; return how many points the first life had."""
    cloud, disk, runtime = ModelCloud(eni_slots=3, per_eni=5), Disk(), Runtime()
    first = Death(die_at)
    await live(cloud, disk, runtime, death=first, start=1)
    told = dict(runtime.answered)

    service = await live(cloud, disk, runtime, death=Death(None), start=2)

    for key, lease in told.items():
        assert key in runtime.deleted or runtime.answered[key] == lease, "a lease was lost"
    assert {key: one.lease for key, one in disk.attachments.items()} == runtime.answered
    given = [ip for lease in runtime.answered.values() for ip in lease.addresses]
    assert len(given) == len(set(given)) == 2 * PODS
    known = {eni.id for eni in service.enis()}
    assert known == set(cloud.enis), "an ENI was lost"
    assert set(given) <= cloud.addresses()
    assert {slot.address for slot in disk.slots.values()} == cloud.addresses()
    assert not disk.intents
    return first.points


def test_nothing_is_lost_shared_or_leaked_wherever_the_process_dies():
    """Bug classes 3 and 7: addresses that are lost, and addresses that two pods have."""
    points = run_virtually(_until_quiet(None))
    assert points > 50

    for point in range(1, points + 1):
        try:
            run_virtually(_until_quiet(point))
        except BaseException as error:
            error.add_note(f"died at point {point} of {points}")
            raise
