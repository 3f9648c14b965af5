"""A pool that cannot cover its demand waits for a change. Bug class 16: it does not spin."""

from __future__ import annotations

from dataclasses import replace

from terway.ipam.commands import AssignAddresses, Command
from terway.ipam.events import Configured, Event, Expected, Tick
from terway.ipam.fit import ORDINARY
from terway.ipam.pool import Pool
from terway.ipam.step import step
from terway.ipam.values import Attempt
from terway.ipam.wake import wake_at
from tests.unit.ipam.test_pool_holding import NOW, A, B, pool_of

THREE = Expected(wishes={ORDINARY: 3})


def round_of(pool: Pool, *events: Event, now: float) -> tuple[Pool, list[Command]]:
    """Step a pool as a control plane's round does: who is expected, what came, the time."""
    commands: list[Command] = []
    for event in (THREE, *events, Tick()):
        pool, made = step(pool, event, now=now)
        commands += made
    return pool, commands


def full() -> Pool:
    """Return a pool with two addresses for three pods, and no room for more."""
    pool = pool_of(A, B, max_enis=1, ipv4_per_eni=2, coalesce_s=0.2)
    return replace(pool, vswitch_watch=Attempt(due_at=float("inf")))


def test_who_is_full_is_looked_at_once_a_minute():
    pool, now, rounds = full(), NOW, 0
    while now < NOW + 600:
        pool, commands = round_of(pool, now=now)
        assert commands == []
        now, rounds = wake_at(pool, now), rounds + 1
    assert rounds <= 15


def test_room_that_comes_is_used_at_once():
    pool, now = full(), NOW
    for _ in range(5):
        pool, _ = round_of(pool, now=now)
        now = wake_at(pool, now)

    at = now - 30.0
    pool, _ = round_of(pool, Configured(config=replace(pool.config, ipv4_per_eni=4)), now=at)
    _, commands = round_of(pool, now=at + 0.2)

    assert [type(one) for one in commands] == [AssignAddresses]
