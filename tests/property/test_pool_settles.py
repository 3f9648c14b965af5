"""A pool comes to rest, whatever its watermarks: what it asks for, it does not give back.

Bug class 16: growth and trim that undo each other, call by call, for ever.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from terway.model.address import Family
from tests.support.model_cloud import ModelCloud
from tests.support.pool_world import World

HOUR_S = 3600.0
FAMILIES = st.sampled_from([(Family.V4,), (Family.V6,), (Family.V4, Family.V6)])
WATERMARKS = st.tuples(st.integers(0, 9), st.integers(0, 9)).map(sorted)


@settings(max_examples=60, deadline=None)
@given(
    families=FAMILIES,
    watermarks=WATERMARKS,
    pods=st.integers(0, 18),
    warm_up=st.sampled_from([0, 5, 30]),
    prefixes=st.sampled_from([None, 1, 3]),
)
def test_a_pool_that_nobody_touches_makes_no_calls_whatever_its_watermarks(
    families, watermarks, pods, warm_up, prefixes
):
    world = World(
        ModelCloud(eni_slots=3, per_eni=6),
        families=families,
        min_free=watermarks[0],
        max_free=watermarks[1],
        warm_up=warm_up,
        has_prefixes=prefixes is not None,
        ipv4_prefixes=prefixes or 0,
        ipv6_prefixes=prefixes or 0,
    )
    world.sleep(0)
    for number in range(pods):
        world.acquire(number)
    world.settle()
    world.work(HOUR_S)  # idle reclaim goes step by step
    world.settle()
    before = world.cloud.mutating_calls

    world.work(3 * HOUR_S)

    assert world.cloud.mutating_calls == before


@settings(max_examples=30, deadline=None)
@given(families=FAMILIES, free=st.integers(0, 5), pods=st.integers(1, 12))
def test_a_pod_that_comes_and_goes_at_the_edge_moves_nothing_to_and_fro(families, free, pods):
    # given a pool whose watermarks touch, and as many pods as it has just addresses for
    world = World(
        ModelCloud(eni_slots=3, per_eni=6), families=families, min_free=free, max_free=free
    )
    world.sleep(0)
    for number in range(pods):
        world.acquire(number)
    world.settle()
    before = world.cloud.mutating_calls

    # when one more comes and goes twenty times, faster than a surplus lasts
    for number in range(100, 120):
        world.acquire(number)
        world.work(10)
        world.release(number)
        world.work(60)  # longer than an address rests

    # then the first may have cost calls, and the others have not
    assert world.cloud.mutating_calls - before <= 6
