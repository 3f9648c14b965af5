"""What Kubernetes hears of the node, and how often."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terway.agent.node_report import ASSERT_EVERY_S, DATAPATH, NodeReporter
from terway.agent.pool_ports import PoolStatus
from terway.kube.types import Condition, Node, NodeStatus
from terway.model.ids import NodeName

GOOD = PoolStatus(
    can_add=True,
    reason="",
    capacity=45,
    free=3,
    bound=0,
    cooling=0,
    retiring=0,
    coming=0,
    waiting=0,
    missing=(),
    enis={},
)
BAD = replace(GOOD, can_add=False, reason="all 45 are in use")


class FakeClient:
    def __init__(self):
        self.patches = []
        self.node: Node | None = None

    async def get(self, _resource, _name):
        return self.node

    async def patch(self, _resource, name, patch, **options):
        self.patches.append((name, patch, options.get("subresource", "")))

    def take(self):
        patches, self.patches = self.patches, []
        return patches


class Scene:
    def __init__(self):
        self.client, self.now, self.status = FakeClient(), 1_700_000_000.0, GOOD
        self.reporter = NodeReporter(
            self.client,  # type: ignore[arg-type]  # has the one method that is used
            NodeName("n1"),
            status=lambda: self.status,
            clock=lambda: self.now,
        )

    async def report(self, *, after_s=0.0):
        self.now += after_s
        await self.reporter.report()
        return self.client.take()


async def test_capacity_and_condition_are_written_at_first():
    annotation, condition = await Scene().report()

    assert annotation[1] == {"metadata": {"annotations": {"k8s.aliyun.com/max-available-ip": "45"}}}
    (one,) = condition[1]["status"]["conditions"]
    assert condition[2] == "status"
    assert (one["type"], one["status"], one["reason"]) == ("SufficientIP", "True", "SufficientIP")


async def test_what_others_note_at_the_node_is_written_with_it_and_taken_away():
    client = FakeClient()
    for notes in ({DATAPATH: "ebpf"}, {DATAPATH: None}):
        reporter = NodeReporter(
            client,  # type: ignore[arg-type]  # has the one method that is used
            NodeName("n1"),
            status=lambda: GOOD,
            clock=lambda: 0.0,
            notes=notes,
        )

        await reporter.report()

        (_, patch, _), _ = client.take()
        held = {"k8s.aliyun.com/max-available-ip": "45"}
        assert patch == {"metadata": {"annotations": {**held, **notes}}}


async def test_nothing_is_written_while_nothing_changes_until_it_is_old():
    """Bug class 58: a write that changes nothing is a conflict for somebody else."""
    scene = Scene()
    await scene.report()

    assert await scene.report(after_s=10) == []
    assert len(await scene.report(after_s=ASSERT_EVERY_S)) == 1


@pytest.mark.parametrize(
    ("before", "since"), [("True", "2023-11-01T00:00:00Z"), ("False", "2023-11-14T22:13:20Z")]
)
async def test_a_restart_does_not_make_the_condition_younger(before, since):
    """Bug class 59: figures that are wrong after a restart."""
    scene = Scene()
    said = Condition(
        type="SufficientIP", status=before, last_transition_time="2023-11-01T00:00:00Z"
    )
    scene.client.node = Node(status=NodeStatus(conditions=(said,)))

    _, (_, patch, _) = await scene.report()

    (one,) = patch["status"]["conditions"]
    assert one["lastTransitionTime"] == since


async def test_a_clock_that_is_set_back_keeps_nothing_from_being_written():
    """Bug class 59: clock skew."""
    scene = Scene()
    await scene.report()

    assert len(await scene.report(after_s=-86_400)) == 1
    assert await scene.report(after_s=10) == []


async def test_a_change_is_written_at_once_with_its_reason_and_its_time():
    scene = Scene()
    await scene.report()
    scene.status = BAD

    ((_, patch, _),) = await scene.report(after_s=10)

    (one,) = patch["status"]["conditions"]
    assert (one["status"], one["reason"], one["message"]) == ("False", "InsufficientIP", BAD.reason)
    assert one["lastTransitionTime"] == "2023-11-14T22:13:30Z"
