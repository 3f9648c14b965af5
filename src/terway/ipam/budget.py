"""How many calls may be made now? Token buckets that adapt to throttling, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

# Additive increase, multiplicative decrease, as TCP shares a link with strangers: the account's
# quota is shared with nodes we know nothing of.
_GROWTH = 0.05  # of the full rate, for each call that was not throttled
_SHRINK = 0.5
_LEAST = 0.02  # of the full rate
# The margin keeps a wake-up at exactly that time from finding 0.999… of a token.
_MARGIN = 1.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What the user allows of one action: a minute's worth at once, then as it flows in."""

    per_minute: float
    tokens: float

    def refilled(self, seconds: float) -> Limit:
        """Return it with what has flowed in within `seconds`."""
        grown = min(max(1.0, self.per_minute), self.tokens + seconds * self.per_minute / 60.0)
        return replace(self, tokens=grown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Tokens for calls of all kinds, and `limits` of single actions.

    `rate` is per second, at most `full_rate`.
    """

    full_rate: float
    burst: float
    rate: float
    tokens: float
    filled_at: float
    closed_until: float = 0.0
    limits: Mapping[str, Limit] = field(default_factory=dict)

    @staticmethod
    def full(
        *, rate: float, burst: float, now: float, per_minute: Mapping[str, float] | None = None
    ) -> Budget:
        """Return full buckets."""
        limits = {
            action: Limit(per_minute=most, tokens=max(1.0, most))
            for action, most in (per_minute or {}).items()
        }
        return Budget(
            full_rate=rate, burst=burst, rate=rate, tokens=burst, filled_at=now, limits=limits
        )

    def refilled(self, now: float) -> Budget:
        """Return it with what has flowed in since."""
        passed = now - self.filled_at
        return replace(
            self,
            tokens=min(self.burst, self.tokens + passed * self.rate),
            filled_at=now,
            limits={action: one.refilled(passed) for action, one in self.limits.items()},
        )

    def can_spend(self, now: float, action: str = "") -> bool:
        """Return whether one call may be made. Call on a refilled one."""
        limit = self.limits.get(action)
        is_allowed = limit is None or limit.tokens >= 1.0
        return is_allowed and self.tokens >= 1.0 and now >= self.closed_until

    def spent(self, action: str = "") -> Budget:
        """Return it one call poorer."""
        limit = self.limits.get(action)
        poorer = replace(self, tokens=self.tokens - 1.0)
        if limit is None:
            return poorer
        left = replace(limit, tokens=limit.tokens - 1.0)
        return replace(poorer, limits={**self.limits, action: left})

    def ready_at(self, now: float, action: str = "") -> float:
        """Return when one call may be made."""
        wait_s = max(0.0, 1.0 - self.tokens) / self.rate * _MARGIN
        limit = self.limits.get(action)
        if limit is not None:
            wait_s = max(wait_s, max(0.0, 1.0 - limit.tokens) * 60.0 / limit.per_minute * _MARGIN)
        return max(now + wait_s, self.closed_until)

    def throttled(self, now: float, retry_after_s: float) -> Budget:
        """Return it after the cloud asked for fewer calls."""
        return replace(
            self,
            rate=max(self.full_rate * _LEAST, self.rate * _SHRINK),
            tokens=min(self.tokens, 1.0),
            closed_until=max(self.closed_until, now + retry_after_s),
        )

    def answered(self) -> Budget:
        """Return it after a call that was not throttled."""
        return replace(self, rate=min(self.full_rate, self.rate + self.full_rate * _GROWTH))
