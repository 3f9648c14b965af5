"""An attachment is released when its namespace and its pod have long been gone, and not before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from terway.agent.interfaces import InterfacePolicy
from terway.agent.moments import read_moment
from terway.agent.reconcile import FORGOTTEN_S, Reconciler
from terway.agent.verbs import Verbs
from terway.model.attachment import AttachmentKey, PodRef
from terway.model.errors import TransientError
from terway.model.ids import ContainerId
from terway.model.interface import InterfaceSpec, Mode
from tests.support.cni import FakeNetwork, FakePool

KEY = AttachmentKey(container_id=ContainerId("c1"), ifname="eth0")
WEB = PodRef(namespace="default", name="web", uid="u1")


class Pool(FakePool):
    observations = 0

    def enis(self):
        return ()

    def observe_soon(self):
        self.observations += 1


class Network(FakeNetwork):
    swept = 0

    def __init__(self):
        super().__init__()
        self.seen = []

    async def mend(self, attachment):
        self.seen.append(attachment.key.container_id)
        return False

    async def sweep(self, attachments, busy):
        self.swept += 1
        raise TransientError("no link")  # the rest goes on all the same


class Pods:
    gone = True

    def is_gone(self, ref):
        return self.gone


class Scene:
    def __init__(self):
        self.pool, self.network, self.pods, self.now = Pool(), Network(), Pods(), 1000.0
        self.verbs = Verbs(
            pool=self.pool,
            network=self.network,
            pods=None,
            clock=read_moment,
            policy=InterfacePolicy(),
        )
        self.reconciler = Reconciler(
            pool=self.pool,
            network=cast("Any", self.network),
            enis=cast("Any", self),
            verbs=self.verbs,
            pods=self.pods,
            now=lambda: self.now,
        )

    async def refresh(self, macs):
        return {mac: TransientError(f"no link has {mac}") for mac in macs}

    async def attach(self, netns, pod=WEB):
        await self.pool.acquire(KEY, network="terway", netns=netns, pod=pod, spec=InterfaceSpec())

    async def pass_by(self, seconds):
        self.now += seconds
        await self.reconciler.reconcile()
        return self.pool.attachment(KEY) is not None


@pytest.fixture
def scene():
    return Scene()


async def test_it_is_released_after_five_minutes(scene):
    """Bug class 17: a pod that was deleted by force, and no DEL that comes."""
    await scene.attach("/run/netns/gone")

    assert await scene.pass_by(0)
    assert await scene.pass_by(FORGOTTEN_S - 1)
    assert not await scene.pass_by(2)
    assert scene.network.calls == [("detach", "c1/eth0")]


async def test_a_namespace_that_is_there_keeps_it(scene, tmp_path):
    await scene.attach(str(tmp_path))

    for _ in range(3):
        assert await scene.pass_by(FORGOTTEN_S)


async def test_a_pod_of_which_netlink_tells_nothing_is_looked_into_each_time(scene, tmp_path):
    for name, mode in (("child", Mode.IPVLAN), ("one", Mode.VETH), ("another", Mode.VETH)):
        key = replace(KEY, container_id=ContainerId(name))
        spec = InterfaceSpec(mode=mode)
        await scene.pool.acquire(key, network="terway", netns=str(tmp_path), pod=WEB, spec=spec)

    for _ in range(4):
        await scene.pass_by(1)

    seen = scene.network.seen
    assert [seen.count(one) for one in ("child", "one", "another")] == [4, 2, 2]


async def test_a_pod_that_changes_while_it_is_read_back_is_looked_into_afterwards(scene, tmp_path):
    """Bug class 27: who reads may have read before somebody changed it."""
    await scene.attach(str(tmp_path))
    attachment = scene.pool.attachment(KEY)

    async with scene.verbs.turns.turn(attachment.owner, is_look=True):
        scene.reconciler.wake_pod(KEY)
        await scene.reconciler.reconcile(is_due=False)
        assert scene.network.seen == []

    await scene.reconciler.reconcile(is_due=False)
    assert scene.network.seen == ["c1"]


async def test_a_pod_that_may_be_there_keeps_it(scene):
    await scene.attach("/run/netns/gone")
    scene.pods.gone = False

    for _ in range(3):
        assert await scene.pass_by(FORGOTTEN_S)


async def test_the_time_begins_anew_when_somebody_claimed_it(scene):
    await scene.attach("/run/netns/gone")
    await scene.pass_by(0)
    scene.pods.gone = False
    await scene.pass_by(FORGOTTEN_S)
    scene.pods.gone = True

    assert await scene.pass_by(1)
    assert await scene.pass_by(FORGOTTEN_S - 1)
    assert not await scene.pass_by(1)


async def test_a_container_without_a_pod_has_only_its_namespace(scene):
    await scene.attach("/run/netns/gone", pod=None)
    scene.pods.gone = False

    await scene.pass_by(0)
    assert not await scene.pass_by(FORGOTTEN_S)


async def test_the_cloud_is_asked_about_an_eni_in_use_that_has_no_link(scene):
    await scene.pass_by(0)
    assert scene.pool.observations == 0

    await scene.attach("/run/netns/gone")
    await scene.pass_by(0)

    assert scene.pool.observations == 1
