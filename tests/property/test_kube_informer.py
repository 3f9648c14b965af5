"""An informer knows in the end what is there, whatever happened to its watch on the way."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from terway.kube.backoff import Backoff
from terway.kube.client import KubeClient, Selector
from terway.kube.informer import Changes, Informer
from terway.kube.resource import CONFIG_MAPS
from terway.lab.kubeapi.faults import Effect, Fault
from terway.lab.kubeapi.resources import CONFIG_MAP
from terway.lab.kubeapi.selectors import parse_selector
from tests.property.test_kubeapi_history import STEPS, play, snapshot
from tests.support.cluster import make_cluster
from tests.support.kube_server import open_kube_server

FAULTS = st.lists(
    st.one_of(
        st.builds(
            Fault,
            effect=st.just(Effect.CUT_WATCH),
            verbs=st.just(("watch",)),
            events=st.integers(0, 4),
        ),
        st.sampled_from(
            (
                Fault(effect=Effect.EXPIRE, verbs=("watch",)),
                Fault(effect=Effect.EXPIRE_EVENT, verbs=("watch",)),
                Fault(effect=Effect.REFUSE, code=503),
                Fault(effect=Effect.REFUSE, code=429),
                Fault(effect=Effect.EXPIRE, verbs=("list",)),
            )
        ),
    ),
    max_size=6,
)


class Story:
    """A cluster, an informer of it, and what a subscriber of the informer has learnt."""

    def __init__(self, selector: str) -> None:
        self.state = make_cluster()
        self.selector = Selector(labels=selector)
        self.matches = parse_selector(CONFIG_MAP, labels=selector)
        self.learnt: dict[str, str] = {}

    async def follow(self, changes: Changes) -> None:
        async for change in changes:
            assert (change.old is None) == (change.key.name not in self.learnt)
            if change.new is None:
                del self.learnt[change.key.name]
            else:
                self.learnt[change.key.name] = change.new.metadata.labels["color"]

    def known(self, informer: Informer) -> dict[str, str]:
        return {key.name: value.metadata.labels["color"] for key, value in informer.objects.items()}


async def told(story: Story, informer: Informer, steps) -> None:
    loop = asyncio.get_running_loop()
    for index, step in enumerate(steps):
        play(story.state, step)
        if index % 3 == 0:
            await asyncio.sleep(0)
    expected = snapshot(story.state, story.matches)
    end = loop.time() + 20
    while (story.known(informer), story.learnt) != (expected, expected):
        assert loop.time() < end, (story.known(informer), story.learnt, expected)
        await asyncio.sleep(0.002)


async def live(story: Story, steps, faults, folder: Path) -> None:
    async with open_kube_server(story.state, folder) as server, KubeClient(server.unix) as client:
        server.fail(*faults)
        informer = Informer(
            client,
            CONFIG_MAPS,
            backoff=Backoff(Random(1), initial_s=0.001, maximum_s=0.01),
            namespace="default",
            selector=story.selector,
            sleep=lambda delay_s: asyncio.sleep(0),
        )
        with informer.subscribe() as changes:
            tasks = [
                asyncio.ensure_future(informer.run()),
                asyncio.ensure_future(story.follow(changes)),
            ]
            try:
                await told(story, informer, steps)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


@settings(max_examples=25, deadline=None)
@given(STEPS, FAULTS, st.sampled_from(("", "color=x")))
def test_an_informer_ends_up_with_what_is_there(steps, faults, selector):
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(live(Story(selector), steps, faults, Path(folder)))
