"""Who is healthy, by what the last probes said? A step machine, of all probes at once.

    unknown ──yes──► healthy ──no, no──► unhealthy ──yes──► healthy

A node gets traffic as soon as it says yes, and loses it when it has failed twice in a row, as
load balancers are commonly set: one lost packet takes nobody out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from terway.lab.balancer.forwarding import Probe

FAILURES = 2  # in a row, until a healthy one is no longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What is known of each probe. A value: `step` returns the next one."""

    failures: Mapping[Probe, int] = field(default_factory=dict)  # in a row; of all ever asked

    @property
    def healthy(self) -> frozenset[Probe]:
        """Return the probes that are answered."""
        return frozenset(one for one, failed in self.failures.items() if failed < FAILURES)

    def unknown(self, wanted: Collection[Probe]) -> frozenset[Probe]:
        """Return those of `wanted` that nobody has answered or failed to, so far."""
        return frozenset(wanted) - self.failures.keys()

    def step(self, answers: Mapping[Probe, bool], wanted: Collection[Probe]) -> Health:
        """Return what is known after a round of answers; what is not wanted is forgotten."""
        after = {one: failed for one, failed in self.failures.items() if one in wanted}
        for probe, said_yes in answers.items():
            if probe in wanted:
                # Whoever is new and says no has failed for good: it never was healthy.
                before = after.get(probe, FAILURES)
                after[probe] = 0 if said_yes else min(before + 1, FAILURES)
        return Health(failures=after)
