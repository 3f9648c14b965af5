"""How do a container's three probes decide over its life?

The startup probe first; then liveness, which has it killed, and readiness, which says whether it
gets traffic. Until the first success readiness is asked more often than its period, doubling from
a fifth of a second: a lab should not wait ten seconds for a server that listened after one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from terway.lab.kubelet.podspec import Container, Probe
from terway.lab.kubelet.probe import Prober, Verdict

_EAGER_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthActions:
    """What the probes have done to the container."""

    started: Callable[[], None]
    ready: Callable[[bool], None]
    unhealthy: Callable[[str], None]  # tells the user, as an event
    restart: Callable[[str, Probe], Awaitable[None]]  # which probe failed; kills the container


async def watch_health(container: Container, prober: Prober, act: HealthActions) -> None:
    """Probe until cancelled, or until a probe has had the container killed."""
    startup = container.startup_probe
    if startup is not None and not await _startup(startup, prober, act):
        return
    act.started()
    if container.readiness_probe is None:
        act.ready(True)
    async with asyncio.TaskGroup() as tasks:
        if container.readiness_probe is not None:
            tasks.create_task(_readiness(container.readiness_probe, prober, act))
        if container.liveness_probe is not None:
            tasks.create_task(_liveness(container.liveness_probe, prober, act))


async def _startup(probe: Probe, prober: Prober, act: HealthActions) -> bool:
    await asyncio.sleep(probe.initial_delay_seconds)
    failures = 0
    while True:
        answer = await prober.ask(probe)
        if answer.ok:
            return True
        failures += 1
        act.unhealthy(f"Startup probe failed: {answer.message}")
        if failures >= probe.failure_threshold:
            await act.restart("startup", probe)
            return False
        await asyncio.sleep(probe.period_seconds)


async def _readiness(probe: Probe, prober: Prober, act: HealthActions) -> None:
    await asyncio.sleep(probe.initial_delay_seconds)
    verdict, eager_s, had_success = Verdict(ok=False), _EAGER_S, False
    while True:
        answer = await prober.ask(probe)
        had_success = had_success or answer.ok
        if not answer.ok:
            act.unhealthy(f"Readiness probe failed: {answer.message}")
        verdict = verdict.after(answer, probe)
        act.ready(verdict.ok)
        period_s = float(probe.period_seconds)
        await asyncio.sleep(period_s if had_success else min(eager_s, period_s))
        eager_s *= 2


async def _liveness(probe: Probe, prober: Prober, act: HealthActions) -> None:
    await asyncio.sleep(probe.initial_delay_seconds)
    verdict = Verdict(ok=True)
    while True:
        answer = await prober.ask(probe)
        if not answer.ok:
            act.unhealthy(f"Liveness probe failed: {answer.message}")
        verdict = verdict.after(answer, probe)
        if not verdict.ok:
            await act.restart("liveness", probe)
            return
        await asyncio.sleep(probe.period_seconds)
