"""Controller `service`: are the load balancers of a Service as it says?

    read ─► wanted ─► find ─► plan ─► do ─┐      until nothing is left to do, then:
                        ▲─────────────────┘      status, health, gates

Each round reads the cloud anew. A Service's finalizer stays until nothing of ours is left there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Any

from terway.controlplane.balancers.behind import Behind
from terway.controlplane.balancers.endpoints import endpoints_of, pods_behind
from terway.controlplane.balancers.finding import owner_tags
from terway.controlplane.balancers.gates import Gates, gated
from terway.controlplane.balancers.objects import (
    FINALIZER,
    SERVICES,
    SLICES,
    BalancedService,
    bare_service,
    is_ours,
    named_balancer,
    service_of,
)
from terway.controlplane.balancers.owners import Owners
from terway.controlplane.balancers.rounds import Made, Products, Rounds
from terway.controlplane.balancers.status import ingress_of, is_said, write_ingress
from terway.controlplane.controller import DONE, Informers, Outcome, Watch, own_key
from terway.controlplane.ports import KubePort, Recorder
from terway.controlplane.watched import WATCHED_PODS, WatchedPod
from terway.kube.events import NORMAL, WARNING
from terway.kube.informer import Informer
from terway.kube.resource import ObjectKey
from terway.kube.types import ObjectReference
from terway.loadbalancer.annotations import Settings, parse_annotations
from terway.loadbalancer.readiness import NOTHING_TO_WAIT_FOR, Readiness, readiness_of
from terway.loadbalancer.values import Cluster, Service
from terway.loadbalancer.wanted import Wanted, holdings_of, wanted_of
from terway.model.address import IPAddress
from terway.model.errors import ConflictError, UsageError, VpcError

_WATCHFUL_S = 1.0  # while a pod waits for health, or the cloud works on something
_RESYNC_S = 300.0  # somebody may have changed the instance by hand


class ServiceController:
    """Controls Services of type LoadBalancer. `cluster` is asked anew in each round."""

    name = "service"

    def __init__(
        self,
        client: KubePort,
        informers: Informers,
        products: Products,
        owners: Owners,
        recorder: Recorder,
        *,
        cluster: Callable[[], Cluster],
        clock: Callable[[], float],
        seed: str,
        concurrency: int = 10,
    ) -> None:
        self.concurrency = concurrency
        self._client = client
        self._rounds = Rounds(products, cluster, seed=seed)
        self._owners = owners
        self._recorder = recorder
        self._cluster = cluster
        self._gates = Gates(client, clock=clock)
        self._services: Informer[BalancedService] = informers.of(SERVICES)
        self._behind = Behind(informers)
        self._cleared: dict[ObjectKey, frozenset[object]] = {}
        self.watches: tuple[Watch, ...] = (
            Watch(resource=SERVICES, keys_of=own_key),
            Watch(resource=SLICES, keys_of=self._behind.of_slice, is_urgent=lambda change: True),
            Watch(resource=WATCHED_PODS, keys_of=self._behind.of_pod),
        )

    async def reconcile(self, key: ObjectKey) -> Outcome:
        """Bring a Service's load balancers one round further."""
        found = self._services.objects.get(key)
        try:
            if found is None or found.spec.type != "LoadBalancer":
                await self._let_pass(key)
            if found is None:
                return DONE
            return await self._look_at(found)
        except VpcError as error:
            if found is not None:
                self._tell(found, WARNING, "SyncLoadBalancerFailed", str(error))
            if found is None or not isinstance(error, UsageError):
                raise
            return Outcome(again_in_s=_RESYNC_S)

    async def _look_at(self, found: BalancedService) -> Outcome:
        if found.metadata.deletion_timestamp is not None or not is_ours(found):
            return await self._leave(found)
        return await self._keep(found)

    async def _let_pass(self, key: ObjectKey) -> None:
        """Open the gates of pods that wait for a load balancer which nobody wants any more."""
        for pod in self._behind.waiting(key):
            await self._gates.write(key.name, pod, NOTHING_TO_WAIT_FOR)

    async def _keep(self, found: BalancedService) -> Outcome:
        service = service_of(found)
        settings = parse_annotations(service.annotations, service.product)
        await self._hold(found)
        slices = self._behind.slices(_key(found))
        pods = self._behind.pods(slices)
        behind = pods_behind(slices, pods)
        enis = await self._owners.find(_key(found), behind)
        endpoints = endpoints_of(service.name, slices, pods, enis)
        instances = wanted_of(service, settings, endpoints, self._cluster())
        made = [await self._rounds.make(one) for one in instances]
        await self._clear(found, instances)
        await self._write_status(found, settings, made)
        waiting = await self._open_gates(service, behind.values(), made)
        is_settled = all(one.is_settled for one in made) and len(enis) == len(behind)
        return Outcome(again_in_s=_RESYNC_S if is_settled and not waiting else _WATCHFUL_S)

    async def _clear(self, found: BalancedService, wanted: Sequence[Wanted]) -> None:
        """Take away instances of ours that the Service has no more use for.

        Asked once for each set of those that it wants, and after each start.
        """
        kept = frozenset((one.product, one.instance.tags) for one in wanted if not one.balancer_id)
        if self._cleared.get(_key(found)) == kept:
            return
        own = {owner_tags(one) for one in wanted if not one.balancer_id}
        done = [
            await self._rounds.take_away(one, spare=named_balancer(found))
            for one in self._holdings(found)
            if not one.balancer_id and owner_tags(one) not in own
        ]
        if all(done):
            self._cleared[_key(found)] = kept

    async def _leave(self, found: BalancedService) -> Outcome:
        """Take away what the Service had, then let it go."""
        if FINALIZER not in found.metadata.finalizers:
            return DONE
        for one in self._holdings(found):
            if not await self._rounds.take_away(one, spare=named_balancer(found)):
                return Outcome(again_in_s=_WATCHFUL_S)
        self._cleared.pop(_key(found), None)
        self._owners.forget(_key(found))
        await self._write(found, finalizers=False)
        if found.metadata.deletion_timestamp is None and found.status.load_balancer.ingress:
            await write_ingress(self._client, SERVICES, found, [])
        self._tell(found, NORMAL, "DeletedLoadBalancer", "nothing of it is left at the cloud")
        return DONE

    def _holdings(self, found: BalancedService) -> tuple[Wanted, ...]:
        """Return what it may have, whatever it says by now: that may be wrong.

        Its class is gone with its type; before, nobody else's product is asked for.
        """
        own = bare_service(found)
        held = holdings_of(own, named_balancer(found), self._cluster())
        is_known = found.spec.type == "LoadBalancer"
        return tuple(one for one in held if not is_known or one.product is own.product)

    async def _open_gates(
        self, service: Service, pods: Iterable[WatchedPod | None], made: Iterable[Made]
    ) -> bool:
        """Write what the load balancers say of pods with a gate; return whether one waits."""
        waiting = False
        asking = gated(service.name, pods)
        instances = [
            (one, await self._rounds.finder.health(one.wanted, one.observed))
            for one in (made if asking else ())
        ]
        for pod in asking:
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
            whole = next((one for one in said if not one.is_true), None) or _last(said)
            await self._gates.write(service.name, pod, whole)
            waiting = waiting or not whole.is_true
        return waiting

    async def _write_status(
        self, found: BalancedService, settings: Settings, made: Iterable[Made]
    ) -> None:
        instances = [one.observed.instance for one in made if one.observed.instance is not None]
        ingress = list(ingress_of(settings, instances))
        if not ingress or is_said(found, ingress):
            return
        await write_ingress(self._client, SERVICES, found, ingress)
        where = ", ".join(one.get("hostname") or one["ip"] for one in ingress)
        self._tell(found, NORMAL, "EnsuredLoadBalancer", f"reached at {where}")

    async def _hold(self, found: BalancedService) -> None:
        if FINALIZER not in found.metadata.finalizers:
            await self._write(found, finalizers=True)

    async def _write(self, found: BalancedService, *, finalizers: bool) -> None:
        """Add or remove our finalizer; ConflictError where somebody changed the list meanwhile."""
        others = [one for one in found.metadata.finalizers if one != FINALIZER]
        patch: dict[str, Any] = {
            "metadata": {
                "finalizers": [*others, FINALIZER] if finalizers else others,
                "resourceVersion": found.metadata.resource_version,
            }
        }
        try:
            await self._client.patch(
                SERVICES, found.metadata.name, patch, namespace=found.metadata.namespace
            )
        except ConflictError as error:
            if error.code != "NotFound":
                raise

    def _tell(self, found: BalancedService, type_: str, reason: str, text: str) -> None:
        metadata = found.metadata
        target = ObjectReference(
            api_version="v1",
            kind="Service",
            namespace=metadata.namespace,
            name=metadata.name,
            uid=metadata.uid,
        )
        self._recorder.record(target, type_, reason, text)


def _key(found: BalancedService) -> ObjectKey:
    return ObjectKey(namespace=found.metadata.namespace, name=found.metadata.name)


def _addresses(pod: WatchedPod, wanted: Wanted) -> tuple[IPAddress, ...]:
    versions = {family.value for family in wanted.families}
    held = (ip_address(one.ip) for one in pod.status.pod_ips)
    return tuple(one for one in held if one.version in versions)


def _last(said: list[Readiness]) -> Readiness:
    if said:
        return said[-1]
    return Readiness(is_true=False, reason="NotRegistered", message="it has no address yet")
