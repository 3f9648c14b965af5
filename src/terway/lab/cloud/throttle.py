"""How often may an action be called? A token bucket per action, for the whole account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from terway.lab.cloud.refusal import Refusal

OTHERS = "*"
_ROUNDING = 1e-6  # of a call: who keeps exactly to the rate is not refused for it

REAL_LIMITS: Mapping[str, float] = {
    OTHERS: 500,
    "CreateNetworkInterface": 500,
    "AttachNetworkInterface": 500,
    "DeleteNetworkInterface": 500,
    "DetachNetworkInterface": 400,
    "DescribeNetworkInterfaces": 800,
    "DescribeNetworkInterfaceAttribute": 2000,
    "AssignPrivateIpAddresses": 400,
    "UnassignPrivateIpAddresses": 400,
    "AssignIpv6Addresses": 400,
    "UnassignIpv6Addresses": 400,
    "DescribeInstanceTypes": 400,
    "DescribeVSwitches": 300,
}
"""Calls per minute of an account; a minute's worth may come at once. What upstream keeps to."""


class Throttle:
    """The buckets. `rates` are calls per minute by action; `OTHERS` is each other action."""

    def __init__(self, rates: Mapping[str, float]) -> None:
        self.rates = dict(rates)  # may be changed while running
        self.refused: Counter[str] = Counter()  # by action
        self._buckets: dict[str, tuple[float, float]] = {}  # action: (calls left, as of)

    def admit(self, action: str, *, now: float) -> None:
        """Count a call.

        Raises the refusal Throttling.User, and counts nothing, when there is none left.
        """
        rate = self.rates.get(action, self.rates.get(OTHERS))
        if rate is None:
            return
        left, since = self._buckets.get(action, (rate, now))
        left = min(rate, left + (now - since) * rate / 60.0)
        if left < 1.0 - _ROUNDING:
            self._buckets[action] = (left, now)
            self.refused[action] += 1
            raise Refusal("Throttling.User", "Request was denied due to user flow control.")
        self._buckets[action] = (left - 1.0, now)


def least_time_s(calls: Mapping[str, int], rates: Mapping[str, float] = REAL_LIMITS) -> float:
    """Return how long the buckets, full at first, make all these calls take: the slowest action's.

    Nobody can be faster, however the calls are spread; whoever calls that fast is never refused.
    """
    return max((_drained_s(action, count, rates) for action, count in calls.items()), default=0.0)


def _drained_s(action: str, count: int, rates: Mapping[str, float]) -> float:
    rate = rates.get(action, rates.get(OTHERS))
    return 0.0 if rate is None else max(0.0, count - rate) * 60.0 / rate
