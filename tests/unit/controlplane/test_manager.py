"""Controllers are woken by what changes, and keep going when the world refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from terway.controlplane.controller import DONE, Outcome, Watch, own_key
from terway.controlplane.informers import SharedInformers
from terway.controlplane.manager import Worker, gauges_of, run_controllers
from terway.controlplane.metrics import ControllerMetrics
from terway.kube.resource import CONFIG_MAPS, NODES, ObjectKey
from terway.kube.types import ConfigMap, Node
from terway.model.errors import BugError, CapacityError, ConflictError, TransientError
from tests.support.kube_story import KubeStory, named
from tests.support.virtual_time import run_virtually

Round = Callable[[ObjectKey], Awaitable[Outcome]]


class Told:
    """A controller whose rounds a test writes."""

    name = "told"

    def __init__(self, round_: Round, *watches: Watch, concurrency: int = 2) -> None:
        self.concurrency = concurrency
        self.watches = watches or (Watch(resource=NODES, keys_of=own_key),)
        self._round = round_
        self.rounds: list[str] = []
        self.happened = asyncio.Condition()

    async def reconcile(self, key: ObjectKey) -> Outcome:
        self.rounds.append(key.name)
        async with self.happened:
            self.happened.notify_all()
        return await self._round(key)

    async def until(self, is_so: Callable[[list[str]], bool]) -> None:
        async with self.happened:
            await self.happened.wait_for(lambda: is_so(self.rounds))


async def done(key: ObjectKey) -> Outcome:
    return DONE


@asynccontextmanager
async def running(
    story: KubeStory, controller: Told, metrics: ControllerMetrics | None = None
) -> AsyncIterator[asyncio.Future[list[Worker]]]:
    informers = SharedInformers(story, rng=Random(1))  # type: ignore[arg-type]
    workers: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as tasks:
        kept = [
            tasks.create_task(informers.run()),
            tasks.create_task(
                run_controllers(
                    [controller],
                    informers,
                    rng=Random(1),
                    metrics=metrics,
                    started=workers.set_result,
                )
            ),
        ]
        yield workers
        for task in kept:
            task.cancel()


def node(name: str) -> Node:
    return Node(metadata=named(name))


def test_what_is_there_and_what_comes_is_looked_at():
    async def main():
        story, controller = KubeStory(), Told(done)
        story.put(NODES, node("a"))
        async with running(story, controller):
            await controller.until(lambda rounds: rounds == ["a"])
            story.put(NODES, node("b"))
            await controller.until(lambda rounds: rounds == ["a", "b"])
            story.remove(NODES, "a")
            await controller.until(lambda rounds: rounds == ["a", "b", "a"])

    run_virtually(main())


def test_no_round_begins_before_everything_is_listed():
    async def main():
        story = KubeStory()
        both = (
            Watch(resource=NODES, keys_of=own_key),
            Watch(resource=CONFIG_MAPS, keys_of=lambda change: ()),
        )
        controller = Told(done, *both)
        story.put(NODES, node("a"))
        story.may_list.clear()
        async with running(story, controller) as workers:
            await asyncio.sleep(60)
            assert not workers.done()
            assert controller.rounds == []
            story.may_list.set()
            await controller.until(lambda rounds: rounds == ["a"])

    run_virtually(main())


def test_a_controller_works_on_no_more_keys_than_it_says():
    async def main():
        under_way, most = set(), 0

        async def round_(key):
            nonlocal most
            assert key not in under_way
            under_way.add(key)
            most = max(most, len(under_way))
            await asyncio.sleep(1)
            under_way.remove(key)
            return DONE

        story, controller = KubeStory(), Told(round_, concurrency=3)
        for number in range(10):
            story.put(NODES, node(f"n{number}"))
        async with running(story, controller):
            await controller.until(lambda rounds: len(rounds) == 10)

        assert most == 3

    run_virtually(main())


def test_what_happens_during_a_round_is_looked_at_after_it():
    async def main():
        story = KubeStory()

        async def round_(key):
            if len(controller.rounds) == 1:
                story.put(NODES, node("a"))
                await asyncio.sleep(5)
            return DONE

        controller = Told(round_)
        story.put(NODES, node("a"))
        async with running(story, controller):
            await controller.until(lambda rounds: len(rounds) == 2)

    run_virtually(main())


def test_a_round_may_ask_for_the_next():
    async def main():
        async def round_(key):
            return Outcome(again_in_s=100.0)

        story, controller = KubeStory(), Told(round_)
        story.put(NODES, node("a"))
        async with running(story, controller):
            began = asyncio.get_running_loop().time()
            await controller.until(lambda rounds: len(rounds) == 4)
            assert asyncio.get_running_loop().time() - began == pytest.approx(300.0)

    run_virtually(main())


def test_errors_are_waited_out_and_logged_once_per_change():
    errors: list[Exception | None] = [
        TransientError("DescribeX: away (RequestId 0A1B2C3D-0000-4000-8000-00000000000A)"),
        TransientError("DescribeX: away (RequestId 0A1B2C3D-0000-4000-8000-00000000000B)"),
        ConflictError("somebody was faster"),
        CapacityError("no room", retry_after_s=70.0),
        None,
    ]

    async def main():
        async def round_(key):
            error = errors[len(controller.rounds) - 1]
            if error is not None:
                raise error
            return DONE

        story, controller = KubeStory(), Told(round_)
        story.put(NODES, node("a"))
        async with running(story, controller):
            began = asyncio.get_running_loop().time()
            await controller.until(lambda rounds: len(rounds) == len(errors))
            assert asyncio.get_running_loop().time() - began >= 0.5 + 1.0 + 2.0 + 70.0

    with capture_logs() as lines:
        run_virtually(main())

    failures = [line for line in lines if line["event"] == "controller.round_failed"]
    assert [line["kind"] for line in failures] == [
        "TransientError",
        "ConflictError",
        "CapacityError",
    ]
    assert [line["log_level"] for line in failures] == ["warning", "info", "warning"]
    assert lines[-1]["event"] == "controller.recovered"


@pytest.mark.parametrize("error", [BugError("an invariant"), KeyError("gone")])
def test_a_bug_ends_everything(error):
    async def main():
        async def round_(key):
            raise error

        story, controller = KubeStory(), Told(round_)
        story.put(NODES, node("a"))
        async with running(story, controller):
            await asyncio.sleep(10)

    with pytest.raises(BaseExceptionGroup) as caught:
        run_virtually(main())
    assert caught.value.subgroup(type(error)) is not None


def test_a_first_list_of_very_many_lets_others_have_the_loop():
    """bug class 25: a probe is answered while 20,000 keys are put into queues."""

    async def main():
        story, controller = KubeStory(), Told(done, concurrency=100)
        for number in range(20_000):
            story.put(CONFIG_MAPS, ConfigMap(metadata=named(f"c{number}", namespace="x")))
        controller.watches = (Watch(resource=CONFIG_MAPS, keys_of=own_key),)
        async with running(story, controller) as workers:
            found = await workers
            rounds_seen = set()
            while len(controller.rounds) < 20_000:
                rounds_seen.add(len(controller.rounds))
                await asyncio.sleep(0)
            assert len(found) == 1
            assert len(rounds_seen) > 20

    run_virtually(main())


def test_queues_and_rounds_are_shown_in_numbers():
    async def main():
        async def round_(key):
            if key.name == "bad":
                raise TransientError("away")
            return DONE

        metrics = ControllerMetrics()
        story, controller = KubeStory(), Told(round_)
        for name in ("good", "bad"):
            story.put(NODES, node(name))
        async with running(story, controller, metrics) as workers:
            await controller.until(lambda rounds: set(rounds) == {"good", "bad"})
            await asyncio.sleep(0.1)
            gauges = [line for gauge in gauges_of(await workers) for line in gauge.lines()]
            counted = [line for metric in metrics.metrics() for line in metric.lines()]

        assert 'workqueue_failing{controller="told"} 1.0' in gauges
        assert 'workqueue_depth{controller="told"} 0.0' in gauges
        assert (
            'controller_runtime_reconcile_total{controller="told",result="success"} 1.0' in counted
        )
        errors = "controller_runtime_reconcile_errors_total"
        assert f'{errors}{{controller="told",error="TransientError"}} 1.0' in counted

    run_virtually(main())


def test_a_collection_that_is_asked_for_late_is_followed_too():
    async def main():
        story = KubeStory()
        informers = SharedInformers(story, rng=Random(1))  # type: ignore[arg-type]
        async with asyncio.TaskGroup() as tasks:
            kept = tasks.create_task(informers.run())
            await asyncio.sleep(1)
            story.put(NODES, node("a"))

            late = informers.of(NODES)
            assert informers.unsynced == ("nodes",)
            await informers.synced()

            assert late.get("a") == node("a")
            assert informers.of(NODES) is late
            assert informers.sizes() == {"nodes": 1}
            kept.cancel()

    run_virtually(main())
