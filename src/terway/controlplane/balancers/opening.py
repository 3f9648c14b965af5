"""Which pods wait for a Service's load balancers, and what do these say of them?"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from terway.controlplane.balancers.finding import Finder, Health
from terway.controlplane.balancers.gates import Gates, condition_of, gated
from terway.controlplane.balancers.rounds import Made
from terway.controlplane.ports import Recorder
from terway.controlplane.watched import WatchedPod
from terway.kube.events import WARNING
from terway.kube.types import ObjectReference
from terway.loadbalancer.readiness import Readiness, readiness_of, refused
from terway.loadbalancer.wanted import Wanted
from terway.model.address import IPAddress

_NO_ADDRESS = Readiness(is_true=False, reason="NotRegistered", message="it has no address yet")


class Opening:
    """Opens the gates of pods that are seen healthy, and tells others why they wait."""

    def __init__(self, gates: Gates, finder: Finder, recorder: Recorder) -> None:
        self._gates = gates
        self._finder = finder
        self._recorder = recorder

    async def refuse(self, service: str, pods: Iterable[WatchedPod], why: str) -> None:
        """Tell pods that wait for a Service which cannot be; gates that are open stay open."""
        for pod in pods:
            held = condition_of(service, pod)
            if held is None or held.status != "True":
                said = refused(service, why)
                if await self._gates.write(service, pod, said):
                    self._recorder.record(_reference(pod), WARNING, said.reason, said.message)

    async def open_gates(
        self,
        service: str,
        pods: Iterable[WatchedPod | None],
        made: Iterable[Made],
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


def _reference(pod: WatchedPod) -> ObjectReference:
    metadata = pod.metadata
    return ObjectReference(
        api_version="v1",
        kind="Pod",
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
    )


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
