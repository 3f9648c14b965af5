"""How often may an action be called? A token bucket per action, for the whole account."""

from __future__ import annotations

from collections.abc import Mapping

from terway.lab.cloud.refusal import Refusal

# Calls per minute; a minute's worth may come at once. The figures that the original keeps to.
DEFAULT_RATES: Mapping[str, float] = {
    "*": 500,
    "DescribeNetworkInterfaces": 800,
    "DescribeNetworkInterfaceAttribute": 2000,
    "DetachNetworkInterface": 400,
    "AssignPrivateIpAddresses": 400,
    "UnassignPrivateIpAddresses": 400,
    "AssignIpv6Addresses": 400,
    "UnassignIpv6Addresses": 400,
    "DescribeInstanceTypes": 400,
    "DescribeVSwitches": 300,
}


class Throttle:
    """The buckets. `rates` are calls per minute by action; ``"*"`` is every other action."""

    def __init__(self, rates: Mapping[str, float]) -> None:
        self.rates = dict(rates)  # may be changed while running
        self._buckets: dict[str, tuple[float, float]] = {}  # action: (calls left, as of)

    def admit(self, action: str, *, now: float) -> None:
        """Count a call.

        Raises the refusal Throttling.User, and counts nothing, when there is none left.
        """
        rate = self.rates.get(action, self.rates.get("*"))
        if rate is None:
            return
        left, since = self._buckets.get(action, (rate, now))
        left = min(rate, left + (now - since) * rate / 60.0)
        if left < 1.0:
            self._buckets[action] = (left, now)
            raise Refusal("Throttling.User", "Request was denied due to user flow control.")
        self._buckets[action] = (left - 1.0, now)
