"""A migration ends, also where the cluster does not do as it is told."""

from __future__ import annotations

import pytest

from terway.cli.migrate_action import Action, Do, Goal
from terway.cli.migrate_cluster import Cluster
from terway.cli.migrate_run import Pace, go_through
from terway.model.errors import TransientError


class NoEffect:
    """Whoever does steps, and nothing comes of them."""

    def __init__(self) -> None:
        self.done = 0

    async def perform(self, action: Action) -> None:
        self.done += 1

    async def log_of(self, action: Action) -> str:
        raise AssertionError(action)


async def test_a_step_without_effect_is_not_repeated_for_ever():
    steps, told = NoEffect(), list[str]()
    step = Action(do=Do.HOLD, text="the webhook is held", remedy="who makes it again?")

    async def read() -> Cluster:
        return Cluster()

    with pytest.raises(TransientError, match=r"the webhook is held: not within .*who makes it"):
        await go_through(
            read,
            steps,
            lambda cluster, goal: step,
            Goal(),
            told=lambda action: told.append(action.text),
            pace=Pace(look_every_s=0.001, patience_s=0.01),
        )

    assert steps.done > 0
    assert told == [step.text]
