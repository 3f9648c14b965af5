"""What watermarks cost a workload: addresses that nobody uses, or pods that wait."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terway.capacity.trace import (
    PodSpan,
    PoolModel,
    exhausted_after_s,
    propose_watermarks,
    replay,
)

DAY_S = 86_400.0
# Twenty pods at once each hour, for ten minutes, on one node.
WAVES = [
    PodSpan(node="n1", start_s=3600.0 * hour, end_s=3600.0 * hour + 600)
    for hour in range(24)
    for _ in range(20)
]


def test_without_a_pool_every_pod_waits_for_a_call_and_nothing_is_wasted_before():
    found = replay([PodSpan(node="a", start_s=10, end_s=110)], PoolModel(min_free=0, max_free=0))

    assert (found.pods, found.waited, found.longest_wait_s, found.peak) == (1, 1, 2.0, 1)
    assert found.wasted == pytest.approx(0.0)


def test_a_warm_pool_lets_nobody_wait_and_holds_more():
    cold = replay(WAVES, PoolModel(min_free=0, max_free=0))
    warm = replay(WAVES, PoolModel(min_free=20, max_free=20))

    assert cold.waited == 480
    assert warm.waited == 0
    assert warm.wasted > cold.wasted + 10
    assert warm.peak == 40


def test_a_surplus_is_given_back_only_after_it_lasted():
    one = [PodSpan(node="a", start_s=0, end_s=10), PodSpan(node="b", start_s=5000, end_s=6000)]

    kept = replay(one, PoolModel(min_free=0, max_free=0, trim_after_s=1e9))
    trimmed = replay(one, PoolModel(min_free=0, max_free=0))

    assert trimmed.calls == kept.calls + 1
    assert trimmed.wasted < kept.wasted


def test_watermarks_are_the_cheapest_that_let_so_few_wait():
    found = propose_watermarks(WAVES)

    assert found.outcome.waited == 0
    assert (found.min_free, found.max_free) == (20, 20)


def test_when_nothing_lets_so_few_wait_the_fewest_wait():
    crowd = [PodSpan(node="a", start_s=0, end_s=100) for _ in range(200)]

    assert propose_watermarks(crowd).min_free == 30


def test_a_growing_workload_says_when_the_addresses_run_out():
    growing = [PodSpan(node="a", start_s=DAY_S * day) for day in range(100)]

    assert exhausted_after_s(growing, 200) == pytest.approx(100 * DAY_S)
    assert exhausted_after_s(growing, 100) == 0.0
    assert exhausted_after_s(WAVES[:20], 252) == inf


spans = st.builds(
    lambda node, start, length: PodSpan(node=node, start_s=start, end_s=start + length),
    st.sampled_from("ab"),
    st.floats(0, 1000),
    st.floats(1, 500),
)


@settings(max_examples=60)
@given(st.lists(spans, max_size=30), st.integers(0, 5), st.integers(0, 5))
def test_no_address_is_negative_and_none_is_lost(pods, low, more):
    found = replay(pods, PoolModel(min_free=low, max_free=low + more))

    assert found.pods == len(pods)
    assert found.wasted >= -1e-6
    assert found.waited <= found.pods
    assert found.peak >= low * len({one.node for one in pods})
