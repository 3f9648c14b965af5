"""How many calls may be made now? A token bucket that adapts to throttling, as a value."""

from __future__ import annotations

from dataclasses import dataclass, replace

# Additive increase, multiplicative decrease, as TCP shares a link with strangers: the account's
# quota is shared with nodes we know nothing of.
_GROWTH = 0.05  # of the full rate, for each call that was not throttled
_SHRINK = 0.5
_LEAST = 0.02  # of the full rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Tokens for calls. `rate` is per second, at most `full_rate`."""

    full_rate: float
    burst: float
    rate: float
    tokens: float
    filled_at: float
    closed_until: float = 0.0

    @staticmethod
    def full(*, rate: float, burst: float, now: float) -> Budget:
        """Return a full bucket."""
        return Budget(full_rate=rate, burst=burst, rate=rate, tokens=burst, filled_at=now)

    def refilled(self, now: float) -> Budget:
        """Return it with what has flowed in since."""
        grown = min(self.burst, self.tokens + (now - self.filled_at) * self.rate)
        return replace(self, tokens=grown, filled_at=now)

    def can_spend(self, now: float) -> bool:
        """Return whether one call may be made. Call on a refilled one."""
        return self.tokens >= 1.0 and now >= self.closed_until

    def spent(self) -> Budget:
        """Return it one call poorer."""
        return replace(self, tokens=self.tokens - 1.0)

    def ready_at(self, now: float) -> float:
        """Return when one call may be made."""
        # The margin keeps a wake-up at exactly that time from finding 0.999… of a token.
        wait_s = max(0.0, 1.0 - self.tokens) / self.rate * 1.001
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
