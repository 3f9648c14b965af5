"""The loop around the pool: what an ADD and a DEL may rely on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from terway.agent.lost import PodTeller
from terway.agent.pool import PoolService
from terway.agent.pool_calls import Ports
from terway.ipam.settings import Half
from terway.ipam.values import ENIPhase
from terway.model.attachment import Attachment, PodRef
from terway.model.errors import CapacityError, TransientError
from terway.store.memory import Disk, MemoryStore
from terway.store.records import Batch, StoreError
from tests.support.model_cloud import ModelCloud
from tests.support.pool_world import (
    AsyncCloud,
    EmptyConntrack,
    ReadyLinks,
    owner,
    pool_config,
)
from tests.support.virtual_time import run_virtually, virtual_clock

POD = PodRef(namespace="default", name="web")


class Node:
    """What outlives the agent's process: the cloud and the disk."""

    def __init__(self, cloud: ModelCloud | None = None, **changes) -> None:
        self.cloud = cloud or ModelCloud()
        self.disk = Disk()
        self.links: Any = ReadyLinks()
        self.remote: Any = AsyncCloud(self.cloud)
        self.store_type: type = MemoryStore
        self.starts = 0
        self._changes = changes

    def service(self, teller: PodTeller | None = None) -> PoolService:
        self.starts += 1
        config = pool_config(self.cloud, **{"max_free": 2, **self._changes})
        ports = Ports(
            cloud=self.remote,
            store=self.store_type(self.disk),
            links=self.links,
            conntrack=EmptyConntrack(),
        )
        return PoolService(
            replace(config, token_seed=f"boot{self.starts}"),
            ports,
            clock=virtual_clock,
            wall_clock=virtual_clock,
            teller=teller,
        )

    @asynccontextmanager
    async def agent(self, teller: PodTeller | None = None) -> AsyncIterator[PoolService]:
        service = self.service(teller)
        await service.restore()
        async with asyncio.TaskGroup() as tasks:
            loop = tasks.create_task(service.run())
            yield service
            loop.cancel()


async def add(service: PoolService, number: int = 1, *, timeout_s: float = 60.0) -> Attachment:
    async with asyncio.timeout(timeout_s):
        return await service.acquire(owner(number), network="terway", netns="/n", pod=POD)


class Told:
    """What pods were told."""

    def __init__(self) -> None:
        self.said: list[tuple[PodRef, str, str]] = []

    def tell_pod(self, pod: PodRef, reason: str, message: str) -> None:
        self.said.append((pod, reason, message))


def test_who_waits_long_for_a_silent_control_plane_is_told_whom_to_ask():
    async def scenario():
        told = Told()
        async with Node(half=Half.USE).agent(told) as service:
            with pytest.raises(TimeoutError):
                await add(service, timeout_s=9.0)
            assert told.said == []
            with pytest.raises(TimeoutError):
                await add(service, timeout_s=60.0)

        [(pod, reason, words)] = told.said
        assert (pod, reason) == (POD, "AllocIPWaits")
        assert "app=terway-controlplane" in words

    run_virtually(scenario())


def test_an_add_is_in_the_journal_when_it_is_answered():
    async def scenario():
        node = Node()
        async with node.agent() as service:
            attachment = await add(service)

        assert node.disk.attachments == {attachment.key: attachment}
        assert attachment.pod == POD

    run_virtually(scenario())


def test_a_retried_add_gets_the_same_also_after_a_restart():
    async def scenario():
        node = Node()
        async with node.agent() as service:
            first = await add(service)
            assert await add(service) == first
        async with node.agent() as service:
            assert await add(service) == first
            assert service.attachment(first.key) == first

    run_virtually(scenario())


def test_many_adds_at_once_share_calls_and_flushes():
    async def scenario():
        node = Node(ModelCloud(eni_slots=3, per_eni=10), max_free=0)
        async with node.agent() as service:
            node.cloud.calls.clear()
            flushes = node.disk.flushes
            await asyncio.gather(*(add(service, number) for number in range(10)))

            assert node.cloud.calls == {"create_eni": 1, "attach_eni": 1}
            assert node.disk.flushes - flushes < 10

    run_virtually(scenario())


def test_a_deleted_attachment_leaves_the_journal_and_deleting_it_again_is_success():
    async def scenario():
        node = Node()
        async with node.agent() as service:
            attachment = await add(service)
            await service.release(attachment.key)
            await service.release(attachment.key)

            assert node.disk.attachments == {}
            assert service.attachment(attachment.key) is None
            assert service.status().cooling == 2

    run_virtually(scenario())


def test_an_add_that_gives_up_leaves_nothing_behind():
    async def scenario():
        node = Node()
        node.links = NeverReady()
        async with node.agent() as service:
            with pytest.raises(TimeoutError):
                await add(service, timeout_s=5.0)

            assert service.status().waiting == 0
            assert service.attachments() == ()
            assert node.disk.attachments == {}

    run_virtually(scenario())


class NeverReady:
    async def wait_eni_ready(self, mac: str) -> None:
        await asyncio.sleep(1e6)


def test_an_add_that_is_cancelled_when_it_was_just_granted_gives_the_address_back():
    async def scenario():
        node = Node(min_free=1)
        async with node.agent() as service:
            await wait_until(lambda: service.status().free == 4)
            task = asyncio.ensure_future(add(service))
            await asyncio.sleep(0)  # granted, not yet durable
            assert service.attachment(owner(1)) is not None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

            assert service.attachments() == ()
            assert service.status().free == 4
        assert node.disk.attachments == {}

    run_virtually(scenario())


def test_a_retry_that_joins_keeps_the_lease_although_the_first_gives_up():
    async def scenario():
        node = Node()
        async with node.agent() as service:
            first = asyncio.ensure_future(add(service))
            second = asyncio.ensure_future(add(service))
            await asyncio.sleep(0)
            first.cancel()

            attachment = await second
            await asyncio.gather(first, return_exceptions=True)
            assert service.attachment(owner(1)) == attachment

    run_virtually(scenario())


def test_a_full_node_refuses_at_once_with_the_reason():
    async def scenario():
        node = Node(ModelCloud(eni_slots=1, per_eni=2))
        async with node.agent() as service:
            await add(service, 1)
            await add(service, 2)

            with pytest.raises(CapacityError, match="all 2 addresses"):
                await add(service, 3)

            status = service.status()
            assert not status.can_add
            assert "all 2 addresses" in status.reason

    run_virtually(scenario())


def test_a_cloud_that_does_not_answer_does_not_keep_the_pool_from_starting():
    async def scenario():
        node = Node(min_free=2)
        async with node.agent() as service:
            first = await add(service)
            await wait_until(lambda: service.status().free >= 4)

        node.remote = DeadCloud()
        async with node.agent() as service:
            assert await add(service) == first
            assert (await add(service, 2)).lease.eni_id == first.lease.eni_id

    run_virtually(scenario())


class DeadCloud:
    def __getattr__(self, name: str):
        async def call(*args, **kwargs):
            raise TransientError(f"{name}: nobody answers")

        return call


def test_a_journal_that_cannot_be_written_ends_the_agent():
    async def scenario():
        node = Node()
        node.store_type = FullDisk
        with pytest.raises(ExceptionGroup) as caught:
            await live_on_a_full_disk(node)
        assert caught.group_contains(StoreError)

    run_virtually(scenario())


async def live_on_a_full_disk(node: Node) -> None:
    async with node.agent() as service:
        with pytest.raises(StoreError):
            await add(service)
        await asyncio.sleep(1e6)


class FullDisk(MemoryStore):
    def write(self, batch: Batch):
        done = asyncio.get_running_loop().create_future()
        done.set_exception(StoreError("terway.db: database or disk is full"))
        return done


def test_the_enis_of_the_pool_are_shown_with_their_vswitch_and_phase():
    async def scenario():
        node = Node()
        async with node.agent() as service:
            attachment = await add(service)

            (eni,) = service.enis()
            assert eni.id == attachment.lease.eni_id
            assert eni.phase is ENIPhase.IN_USE
            assert eni.vswitch is not None
            assert service.eni(eni.id) == eni
            assert service.status().enis == {ENIPhase.IN_USE: 1}

    run_virtually(scenario())


def test_an_alarm_that_passes_while_the_loop_is_busy_is_rung_all_the_same():
    reads = iter(range(10**6))

    async def scenario():
        node = Node()
        # each look at the clock is later than the last by more than demand is collected for
        slow = PoolService(
            pool_config(node.cloud, max_free=2),
            Ports(
                cloud=node.remote,
                store=MemoryStore(node.disk),
                links=node.links,
                conntrack=EmptyConntrack(),
            ),
            clock=lambda: virtual_clock() + 0.05 * next(reads),
            wall_clock=virtual_clock,
        )
        await slow.restore()
        async with asyncio.TaskGroup() as tasks:
            loop = tasks.create_task(slow.run())
            for number in range(5):
                await add(slow, number)
            loop.cancel()

    run_virtually(scenario())


def test_somebody_who_saw_a_difference_can_have_the_cloud_read_now():
    async def scenario():
        node = Node()
        async with node.agent() as service:
            await add(service)
            await asyncio.sleep(30)
            node.cloud.calls.clear()

            service.observe_soon()
            await asyncio.sleep(1)

            assert node.cloud.calls["describe_enis"] == 1

    run_virtually(scenario())


async def wait_until(is_so) -> None:
    """Wait, in virtual time, until something is so."""
    async with asyncio.timeout(3600):
        while not is_so():  # noqa: ASYNC110 - virtual seconds cost nothing
            await asyncio.sleep(1)
