"""How does a pool that nobody touches shrink to its minimum?

Source: `idle_ip_reclaim_*` of eni-config. The first look that finds the pool idle only sets the
alarm; each time it rings a batch goes; a pod that comes or goes puts it off.
"""

from __future__ import annotations

from dataclasses import replace

from terway.ipam import chance
from terway.ipam.pool import Pool


def idle_at(pool: Pool) -> float | None:
    """Return since when the pool counts as idle, or will; None if it never does."""
    after_s = pool.config.reclaim_after_s
    return None if after_s is None else pool.touched_at + after_s


def shrinks_to(pool: Pool, *, free: int, limit: int, now: float) -> tuple[int, Pool]:
    """Return how many of `free` pairs may stay: `limit`, or fewer when the alarm rings."""
    since = idle_at(pool)
    if since is None or now < since:
        return limit, pool if pool.reclaim_at is None else replace(pool, reclaim_at=None)
    if pool.reclaim_at is None:
        return limit, replace(pool, reclaim_at=_next(pool, now))
    if now < pool.reclaim_at:
        return limit, pool
    config = pool.config
    least = config.min_free + sum(pool.expected.values())
    lower = max(least, min(free, limit) - config.reclaim_batch)
    pool = replace(pool, reclaim_at=_next(pool, now))
    if free > limit or lower >= free:
        return limit, pool
    # The surplus was announced by the alarm; it need not last a second time.
    return lower, replace(pool, surplus_since=now - config.trim_after_s)


def _next(pool: Pool, now: float) -> float:
    """Return when the alarm rings: nodes that began together do not reclaim together."""
    config = pool.config
    draw = chance.fraction(f"{config.token_seed}/reclaim", int(now))
    return now + config.reclaim_interval_s * (1.0 + config.reclaim_jitter * draw)
