"""Who is healthy, by the health checks of a listener? A step machine for each backend.

unknown ──yes──► healthy ──unhealthy_after noes──► unhealthy ──healthy_after yeses──► healthy
   └──no──► unhealthy
"""

from __future__ import annotations

from dataclasses import dataclass

from terway.lab.cloud.balancer_records import HealthCheckRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of one backend; `streak` answers in a row spoke against it."""

    is_healthy: bool | None = None
    streak: int = 0

    def after(self, said_yes: bool, check: HealthCheckRecord) -> Seen:
        """Return what is known after one more answer."""
        if self.is_healthy is None:
            return Seen(is_healthy=said_yes)
        if said_yes == self.is_healthy:
            return Seen(is_healthy=self.is_healthy)
        streak = self.streak + 1
        if streak >= (check.healthy_after if said_yes else check.unhealthy_after):
            return Seen(is_healthy=said_yes)
        return Seen(is_healthy=self.is_healthy, streak=streak)
