"""What happens when a pod that runs asks for other limits."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest

from terway.agent.limits import Limits
from terway.agent.pods import is_same
from terway.agent.turns import Turns
from terway.kube.informer import Change, Changes
from terway.kube.resource import ObjectKey
from terway.kube.types import ObjectMeta, Pod
from terway.model.attachment import Attachment, PodRef
from terway.model.errors import TransientError
from terway.model.interface import Bandwidth, NetworkPriority
from tests.support.attachments import attachment

EGRESS = "kubernetes.io/egress-bandwidth"
PRIORITY = "k8s.aliyun.com/network-priority"


@dataclass
class World:
    """The watch, the journal, the kernel and the pod's events of one node."""

    journal: dict[str, Attachment] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    stream: Changes[Pod] = field(default_factory=Changes)
    kernel_fails: bool = False

    def attachments(self) -> tuple[Attachment, ...]:
        return tuple(self.journal.values())

    async def change(self, changed: Attachment) -> None:
        self.done.append("journal")
        self.journal[str(changed.key)] = changed

    async def hold_to_limits(self, changed: Attachment) -> None:
        self.done.append(f"kernel {changed.spec.bandwidth.egress}")
        if self.kernel_fails:
            raise TransientError("busy")

    def tell_pod(self, pod: PodRef, reason: str, message: str) -> None:
        self.told.append((reason, message))

    @contextmanager
    def changes(self):
        yield self.stream

    def add(self, one: Attachment) -> None:
        self.journal[str(one.key)] = one

    async def annotate(self, name: str, **annotations: str) -> None:
        """Let the pod have these annotations, and wait until that has been followed."""
        names = {"egress": EGRESS, "priority": PRIORITY}
        said = {names[key]: value for key, value in annotations.items()}
        pod = Pod(metadata=ObjectMeta(name=name, namespace="default", annotations=said))
        key = ObjectKey(namespace="default", name=name)
        self.stream.put(Change(key=key, old=None, new=pod))
        limits = Limits(
            changes=self.changes,
            journal=self,
            network=self,
            turns=Turns(),
            teller=self,
            is_same=is_same,
        )
        task = asyncio.create_task(limits.run())
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    @property
    def spec(self):
        return self.attachments()[0].spec


@pytest.fixture
def world() -> World:
    made = World()
    made.add(attachment(1))
    return made


async def test_a_new_limit_is_journalled_before_the_kernel_has_it(world):
    await world.annotate("pod-1", egress="8M")

    assert world.done == ["journal", "kernel 1000000"]
    assert world.spec.bandwidth == Bandwidth(egress=1_000_000)


async def test_a_limit_that_is_taken_away_goes(world):
    limited = replace(world.spec, bandwidth=Bandwidth(egress=1000))
    world.add(replace(world.attachments()[0], spec=limited))

    await world.annotate("pod-1")

    assert world.done == ["journal", "kernel None"]


async def test_what_stays_as_it_is_costs_nothing(world):
    await world.annotate("pod-1")
    await world.annotate("another", egress="8M")

    assert world.done == []


async def test_a_wish_that_cannot_be_read_is_told_and_changes_nothing(world):
    await world.annotate("pod-1", egress="fast")

    assert world.done == []
    ((reason, message),) = world.told
    assert reason == "ParseFailed"
    assert "fast" in message


async def test_the_wish_stays_journalled_when_the_kernel_is_busy(world):
    world.kernel_fails = True

    await world.annotate("pod-1", egress="8M", priority="guaranteed")

    assert world.spec.bandwidth == Bandwidth(egress=1_000_000)
    assert world.spec.priority is NetworkPriority.GUARANTEED
