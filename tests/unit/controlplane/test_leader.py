"""At any moment one instance works at most, whatever becomes of clocks and of the API server."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from msgspec import structs

from terway.controlplane.config import LeaseConf
from terway.controlplane.leader import Leader, LeaseLostError
from terway.kube.types import Lease
from terway.model.errors import ConflictError, TransientError
from tests.support.virtual_time import run_virtually, virtual_clock

CONF = LeaseConf(
    name="lock", namespace="kube-system", duration_s=15.0, renew_deadline_s=10.0, retry_s=2.0
)


class LeaseServer:
    """One lease, with the API server's optimistic locking; it may be away for somebody."""

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self.version = 0

    def put(self, lease: Lease) -> Lease:
        self.version += 1
        metadata = structs.replace(lease.metadata, resource_version=str(self.version))
        self.lease = structs.replace(lease, metadata=metadata)
        return self.lease


class LeaseClient:
    """What a Leader asks of a KubeClient."""

    def __init__(self, server: LeaseServer) -> None:
        self.server = server
        self.is_away = False
        self.hangs = False

    async def _reach(self) -> None:
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        if self.is_away:
            raise TransientError("no answer")

    async def get(self, resource, name, *, namespace):
        await self._reach()
        return self.server.lease

    async def create(self, resource, body):
        await self._reach()
        if self.server.lease is not None:
            raise ConflictError("it is there", code="AlreadyExists")
        return self.server.put(body)

    async def update(self, resource, body):
        await self._reach()
        if body.metadata.resource_version != str(self.server.version):
            raise ConflictError("somebody was faster", code="Conflict")
        return self.server.put(body)


class Instance:
    """A candidate, and when it worked."""

    def __init__(self, server: LeaseServer, name: str, *, skew_s: float = 0.0) -> None:
        self.client = LeaseClient(server)
        self.leader = Leader(
            self.client,  # type: ignore[arg-type]
            CONF,
            holder=name,
            clock=lambda: virtual_clock() + skew_s,
            rng=Random(name),
        )
        self.worked: list[tuple[float, float]] = []
        self.began = asyncio.Event()

    async def work(self) -> None:
        began = virtual_clock()
        self.began.set()
        try:
            await asyncio.sleep(1e6)
        finally:
            self.worked.append((began, virtual_clock()))

    def start(self) -> asyncio.Task[None]:
        return asyncio.ensure_future(self.leader.lead(self.work))


async def ended(task: asyncio.Task[None]) -> BaseException | None:
    task.cancel()
    (found,) = await asyncio.gather(task, return_exceptions=True)
    return found


def test_one_of_two_works_and_the_other_waits():
    async def main():
        server = LeaseServer()
        a, b = Instance(server, "a"), Instance(server, "b")
        first = a.start()
        await a.began.wait()
        second = b.start()

        await asyncio.sleep(300)

        assert not b.began.is_set()
        assert server.lease is not None
        assert server.lease.spec.holder_identity == "a"
        await ended(first)
        await ended(second)

    run_virtually(main())


def test_who_stops_in_order_gives_the_lease_back_and_the_next_works_at_once():
    async def main():
        server = LeaseServer()
        a, b = Instance(server, "a"), Instance(server, "b")
        first = a.start()
        await a.began.wait()
        second = b.start()
        await asyncio.sleep(20)

        await ended(first)
        stopped_at = virtual_clock()
        await b.began.wait()

        assert virtual_clock() - stopped_at <= CONF.retry_s * 1.2
        assert server.lease is not None
        assert server.lease.spec.lease_transitions == 2
        await ended(second)

    run_virtually(main())


@pytest.mark.parametrize("how", ["is_away", "hangs"])
@pytest.mark.parametrize("skew_s", [0.0, 3600.0, -3600.0])
def test_who_cannot_renew_stops_before_another_works(how, skew_s):
    async def main():
        server = LeaseServer()
        a, b = Instance(server, "a"), Instance(server, "b", skew_s=skew_s)
        first = a.start()
        await a.began.wait()
        second = b.start()
        await asyncio.sleep(31)

        setattr(a.client, how, True)
        await b.began.wait()

        (_, stopped_at), began_at = a.worked[0], virtual_clock()
        assert stopped_at < began_at
        assert began_at - stopped_at <= CONF.duration_s + 2 * CONF.retry_s
        setattr(a.client, how, False)
        (lost,) = await asyncio.gather(first, return_exceptions=True)
        assert isinstance(lost, BaseExceptionGroup)
        assert lost.subgroup(LeaseLostError) is not None
        await ended(second)

    run_virtually(main())


def test_a_short_absence_of_the_api_server_is_no_reason_to_stop():
    async def main():
        server = LeaseServer()
        a = Instance(server, "a")
        first = a.start()
        await a.began.wait()
        await asyncio.sleep(20)

        a.client.is_away = True
        await asyncio.sleep(6)
        a.client.is_away = False
        await asyncio.sleep(60)

        assert a.leader.is_leading
        assert a.worked == []
        await ended(first)

    run_virtually(main())


def test_a_lease_that_was_taken_by_hand_is_another_s():
    async def main():
        server = LeaseServer()
        a = Instance(server, "a")
        first = a.start()
        await a.began.wait()
        assert server.lease is not None
        spec = structs.replace(server.lease.spec, holder_identity="somebody")
        server.put(structs.replace(server.lease, spec=spec))

        (lost,) = await asyncio.gather(first, return_exceptions=True)

        assert isinstance(lost, BaseExceptionGroup)
        assert lost.subgroup(LeaseLostError) is not None
        assert server.lease.spec.holder_identity == "somebody"

    run_virtually(main())


def test_work_that_ends_gives_the_lease_back():
    async def main():
        server = LeaseServer()
        a = Instance(server, "a")

        async def work() -> None:
            await asyncio.sleep(5)

        await a.leader.lead(work)

        assert server.lease is not None
        assert server.lease.spec.holder_identity == ""

    run_virtually(main())


def test_who_stands_still_beyond_its_lease_may_change_nothing_before_it_has_even_noticed():
    async def main():
        server, stood_still_s = LeaseServer(), 0.0
        leader = Leader(
            LeaseClient(server),  # type: ignore[arg-type]
            CONF,
            holder="a",
            clock=virtual_clock,
            rng=Random(1),
            monotonic=lambda: virtual_clock() + stood_still_s,
        )
        with pytest.raises(LeaseLostError, match="is not ours"):
            leader.check()

        async def work() -> None:
            nonlocal stood_still_s
            await asyncio.sleep(300)
            leader.check()
            stood_still_s = 20.0  # and the loop goes on in the middle of its turn
            with pytest.raises(LeaseLostError, match=r"ended 1[0-2].* while we stood still"):
                leader.check()

        await leader.lead(work)

    run_virtually(main())
