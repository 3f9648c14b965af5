"""Requests go at once while the bucket lasts, and then one by one."""

from __future__ import annotations

from terway.kube.rate import RateLimit


class Time:
    def __init__(self):
        self.now = 0.0
        self.slept: list[float] = []

    async def sleep(self, delay_s):
        self.slept.append(round(delay_s, 6))


async def test_a_burst_goes_at_once_and_the_rest_waits_for_its_turn():
    time = Time()
    rate = RateLimit(qps=10, burst=3, clock=lambda: time.now, sleep=time.sleep)

    for _ in range(5):
        await rate.take()

    assert time.slept == [0.1, 0.2]


async def test_a_pause_fills_the_bucket_and_not_more():
    time = Time()
    rate = RateLimit(qps=10, burst=2, clock=lambda: time.now, sleep=time.sleep)
    for _ in range(2):
        await rate.take()

    time.now = 100.0
    for _ in range(3):
        await rate.take()

    assert time.slept == [0.1]


async def test_without_a_burst_one_goes_at_a_time():
    time = Time()
    rate = RateLimit(qps=4, burst=0, clock=lambda: time.now, sleep=time.sleep)

    await rate.take()
    await rate.take()

    assert time.slept == [0.25]
