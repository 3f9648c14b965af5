"""The pages of the read-only listener."""

from __future__ import annotations

from dataclasses import asdict

import msgspec

from terway.agent.follow import ConfigFollower
from terway.agent.health import Health
from terway.agent.metrics import Metrics
from terway.agent.readonly import Page, Pages
from terway.agent.reconcile import ManagedPool


def pages_of(
    pool: ManagedPool, metrics: Metrics, health: Health, config: ConfigFollower | None = None
) -> Pages:
    """Return the pages: health, readiness, metrics, and the state of the pool as JSON."""
    return {
        "/healthz": health.live,
        "/readyz": health.ready,
        "/metrics": metrics.page,
        "/debug/state": lambda: Page(body=state_of(pool, config), content_type="application/json"),
    }


def state_of(pool: ManagedPool, config: ConfigFollower | None = None) -> bytes:
    """Return attachments, ENIs, the pool's status and what became of eni-config as JSON."""
    state = {
        "attachments": [asdict(one) for one in pool.attachments()],
        "enis": [asdict(one) for one in pool.enis()],
        "pool": {**asdict(pool.status()), "enis": _by_phase(pool)},
        "config": asdict(config.reloader.state) if config else None,
    }
    return msgspec.json.encode(state, enc_hook=str) + b"\n"


def _by_phase(pool: ManagedPool) -> dict[str, int]:
    return {phase.value: count for phase, count in pool.status().enis.items()}
