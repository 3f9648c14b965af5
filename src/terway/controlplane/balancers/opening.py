"""Which pods wait for a Service's load balancers, and what do these say of them?"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from terway.controlplane.balancers.finding import Finder, Health
from terway.controlplane.balancers.gates import Gates, gated
from terway.controlplane.balancers.rounds import Made
from terway.controlplane.watched import WatchedPod
from terway.loadbalancer.readiness import Readiness, readiness_of
from terway.loadbalancer.wanted import Wanted
from terway.model.address import IPAddress

_NO_ADDRESS = Readiness(is_true=False, reason="NotRegistered", message="it has no address yet")


class Opening:
    """Opens the gates of pods that are seen healthy."""

    def __init__(self, gates: Gates, finder: Finder) -> None:
        self._gates = gates
        self._finder = finder

    async def open_gates(
        self, service: str, pods: Iterable[WatchedPod | None], made: Iterable[Made]
    ) -> bool:
        """Write what the load balancers say of pods with a gate; return whether one waits."""
        waiting = False
        asking = gated(service, pods)
        instances = [
            (one, await self._finder.health(one.wanted, one.observed))
            for one in (made if asking else ())
        ]
        for pod in asking:
            said = _readiness(pod, instances)
            await self._gates.write(service, pod, said)
            waiting = waiting or not said.is_true
        return waiting


def _readiness(pod: WatchedPod, instances: Iterable[tuple[Made, Health]]) -> Readiness:
    """Return what is missing at one of the instances, else what the last one says."""
    said = [
        readiness_of(
            own,
            one.wanted.listeners,
            {group.name: group for group in one.observed.groups},
            health,
        )
        for one, health in instances
        if (own := _addresses(pod, one.wanted))
    ]
    missing = next((one for one in said if not one.is_true), None)
    return missing or (said[-1] if said else _NO_ADDRESS)


def _addresses(pod: WatchedPod, wanted: Wanted) -> tuple[IPAddress, ...]:
    versions = {family.value for family in wanted.families}
    held = (ip_address(one.ip) for one in pod.status.pod_ips)
    return tuple(one for one in held if one.version in versions)
