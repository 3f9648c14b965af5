"""What changes when the pool is told something else while it lives?

Nothing at once: the look at the whole that ends every step finds what is lacking, what drains, what
is a surplus and which security groups are stale. Here only what was learnt under the old rules is
forgotten.
"""

from __future__ import annotations

from dataclasses import replace

from terway.ipam.budget import Budget, Limit
from terway.ipam.pool import Pool
from terway.ipam.settings import PoolConfig


def configured(pool: Pool, config: PoolConfig, now: float) -> Pool:
    """Take over a new configuration. The instance and the tokens' seed stay what they were."""
    old = pool.config
    config = replace(
        config,
        instance_id=old.instance_id,
        zone_id=old.zone_id,
        token_seed=old.token_seed,
    )
    if config == old:
        return pool
    if config == replace(old, pod_enis=config.pod_enis):
        return replace(pool, config=config, create_hold=None)  # a slot more, or less
    pool = replace(pool, config=config, create_hold=None, surplus_since=None, reclaim_at=None)
    enis = {key: replace(eni, grow_after=0.0) for key, eni in pool.enis.items()}
    pool = replace(pool, enis=enis, budget=_budget(pool.budget, config, now))
    if any(one not in pool.vswitches for one in config.vswitch_ids):
        pool = replace(pool, vswitch_watch=replace(pool.vswitch_watch, due_at=now))
    # ENIs may have to be taken over, or let go of, by tags and kinds.
    return pool.observing_at(now)


def _budget(old: Budget, config: PoolConfig, now: float) -> Budget:
    """Return the new limits, with what throttling taught about the rate."""
    new = Budget.full(
        rate=config.calls_per_s,
        burst=config.call_burst,
        per_minute=dict(config.rate_limits),
        now=now,
    )
    return replace(
        new,
        rate=min(new.full_rate, old.rate),
        tokens=min(new.burst, old.tokens),
        closed_until=old.closed_until,
        limits={action: _limit(old.limits.get(action), one) for action, one in new.limits.items()},
    )


def _limit(old: Limit | None, new: Limit) -> Limit:
    """Return a limit that is no way to a full bucket: what was spent stays spent."""
    return new if old is None else replace(new, tokens=min(old.tokens, new.tokens))
