"""Controller `service`: are the load balancers of a Service as it says?

    read ─► wanted ─► find ─► plan ─► do ─┐      until nothing is left to do, then:
                        ▲─────────────────┘      status, health, gates

Each round reads the cloud anew. A Service's finalizer stays until nothing of ours is left there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from terway.cloud.nlb import NlbClient
from terway.cloud.slb import SlbClient
from terway.controlplane.balancers.doing import ClbDoer, Job, NlbDoer
from terway.controlplane.balancers.endpoints import endpoints_of, pods_behind
from terway.controlplane.balancers.finding import Finder
from terway.controlplane.balancers.gates import Gates, gated
from terway.controlplane.balancers.objects import (
    FINALIZER,
    SERVICE_NAME,
    SERVICES,
    SLICES,
    BalancedService,
    EndpointSlice,
    is_ours,
    service_of,
)
from terway.controlplane.balancers.owners import Owners
from terway.controlplane.controller import DONE, Informers, Outcome, Watch, own_key
from terway.controlplane.podenis.ports import KubePort, Recorder
from terway.controlplane.watched import WATCHED_PODS, WatchedPod
from terway.kube.events import NORMAL, WARNING
from terway.kube.informer import Change, Informer
from terway.kube.resource import ObjectKey
from terway.kube.types import ObjectReference
from terway.loadbalancer.annotations import Settings, parse_annotations
from terway.loadbalancer.plan import plan, plan_removal
from terway.loadbalancer.readiness import Readiness, readiness_of, services_of
from terway.loadbalancer.values import Cluster, Observed, Service
from terway.loadbalancer.wanted import Wanted, wanted_of
from terway.model.address import IPAddress
from terway.model.balancer import BalancerInstance, BalancerProduct
from terway.model.errors import ConflictError, UsageError, VpcError

_ROUNDS = 8  # from nothing to all there are five; a job of NLB's takes another look
_WATCHFUL_S = 1.0  # while a pod waits for health, or the cloud works on something
_RESYNC_S = 300.0  # somebody may have changed the instance by hand


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One instance as it is after a round. `is_settled`: nothing is left to do for it."""

    wanted: Wanted
    observed: Observed
    is_settled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """The cloud's load balancers, and how steps are done at each."""

    slb: SlbClient
    nlb: NlbClient
    finder: Finder = field(init=False)
    clb_doer: ClbDoer = field(init=False)
    nlb_doer: NlbDoer = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "finder", Finder(self.slb, self.nlb))
        object.__setattr__(self, "clb_doer", ClbDoer(self.slb))
        object.__setattr__(self, "nlb_doer", NlbDoer(self.nlb))


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
        self._products = products
        self._owners = owners
        self._recorder = recorder
        self._cluster = cluster
        self._gates = Gates(client, clock=clock)
        self._seed = seed
        self._services: Informer[BalancedService] = informers.of(SERVICES)
        self._slices: Informer[EndpointSlice] = informers.of(SLICES)
        self._pods: Informer[WatchedPod] = informers.of(WATCHED_PODS)
        self._slices_of: dict[ObjectKey, set[ObjectKey]] = {}
        self.watches: tuple[Watch, ...] = (
            Watch(resource=SERVICES, keys_of=own_key),
            Watch(resource=SLICES, keys_of=self._of_slice, is_urgent=lambda change: True),
            Watch(resource=WATCHED_PODS, keys_of=_of_pod),
        )

    async def reconcile(self, key: ObjectKey) -> Outcome:
        """Bring a Service's load balancers one round further."""
        found = self._services.objects.get(key)
        if found is None:
            return DONE
        try:
            if found.metadata.deletion_timestamp is not None or not is_ours(found):
                return await self._leave(found)
            return await self._keep(found)
        except UsageError as error:
            self._tell(found, WARNING, "SyncLoadBalancerFailed", str(error))
            return Outcome(again_in_s=_RESYNC_S)
        except VpcError as error:
            self._tell(found, WARNING, "SyncLoadBalancerFailed", str(error))
            raise

    async def _keep(self, found: BalancedService) -> Outcome:
        service = service_of(found)
        settings = parse_annotations(service.annotations, service.product)
        await self._hold(found)
        slices = self._own_slices(found)
        behind = pods_behind(slices, self._pods_by_name(slices))
        enis = await self._owners.find(behind)
        pods = self._pods_by_name(slices)
        endpoints = endpoints_of(service.name, slices, pods, enis)
        cluster = self._cluster()
        made = [
            await self._make(one, cluster)
            for one in wanted_of(service, settings, endpoints, cluster)
        ]
        await self._write_status(found, settings, made)
        waiting = await self._open_gates(service, behind.values(), made)
        is_settled = all(one.is_settled for one in made) and len(enis) == len(behind)
        return Outcome(again_in_s=_RESYNC_S if is_settled and not waiting else _WATCHFUL_S)

    async def _make(self, wanted: Wanted, cluster: Cluster) -> Made:
        """Do what can be done for one instance, round by round."""
        observed = Observed()
        for _ in range(_ROUNDS):
            observed = await self._products.finder.find(wanted)
            steps = plan(wanted, observed)
            if not steps:
                is_ready = observed.instance is not None and observed.instance.is_ready
                return Made(wanted=wanted, observed=observed, is_settled=is_ready)
            balancer_id = observed.instance.id if observed.instance is not None else None
            job = Job(
                wanted=wanted,
                balancer_id=balancer_id,
                vpc_id=cluster.vpc_id,
                attempt=self._seed,
            )
            for step in steps:
                if wanted.product is BalancerProduct.CLB:
                    await self._products.clb_doer.do(step, job)
                elif await self._products.nlb_doer.do(step, job):
                    break  # a job: what comes after it may need its end
        return Made(wanted=wanted, observed=observed, is_settled=False)

    async def _leave(self, found: BalancedService) -> Outcome:
        """Take away what the Service had, then let it go."""
        if FINALIZER not in found.metadata.finalizers:
            return DONE
        service = service_of(found)
        settings = parse_annotations(service.annotations, service.product)
        cluster = self._cluster()
        for wanted in wanted_of(service, settings, (), cluster):
            if not await self._take_away(wanted, cluster):
                return Outcome(again_in_s=_WATCHFUL_S)
        self._owners.forget(pods_behind(self._own_slices(found), {}))
        await self._write(found, finalizers=False)
        if found.metadata.deletion_timestamp is None and found.status.load_balancer.ingress:
            await self._patch_status(found, [])
        self._tell(found, NORMAL, "DeletedLoadBalancer", "nothing of it is left at the cloud")
        return DONE

    async def _take_away(self, wanted: Wanted, cluster: Cluster) -> bool:
        """Return whether nothing is left."""
        for _ in range(_ROUNDS):
            observed = await self._products.finder.find(wanted)
            steps = plan_removal(observed, mark=wanted.mark, is_ours=not wanted.balancer_id)
            if not steps:
                return True
            job = Job(
                wanted=wanted,
                balancer_id=observed.instance.id if observed.instance else None,
                vpc_id=cluster.vpc_id,
                attempt=self._seed,
            )
            for step in steps:
                if wanted.product is BalancerProduct.CLB:
                    await self._products.clb_doer.do(step, job)
                else:
                    await self._products.nlb_doer.do(step, job)
        return False

    async def _open_gates(
        self, service: Service, pods: Iterable[WatchedPod | None], made: Iterable[Made]
    ) -> bool:
        """Write what the load balancers say of pods with a gate; return whether one waits."""
        waiting = False
        asking = gated(service.name, pods)
        instances = [
            (one, await self._products.finder.health(one.wanted, one.observed))
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
        ingress = list(_ingress(settings, instances))
        held = [
            {name: value for name, value in (("ip", one.ip), ("hostname", one.hostname)) if value}
            for one in found.status.load_balancer.ingress or ()
        ]
        if ingress == held or not ingress:
            return
        await self._patch_status(found, ingress)
        where = ", ".join(next(iter(one.values())) for one in ingress)
        self._tell(found, NORMAL, "EnsuredLoadBalancer", f"reached at {where}")

    async def _patch_status(self, found: BalancedService, ingress: list[dict[str, str]]) -> None:
        await self._client.patch(
            SERVICES,
            found.metadata.name,
            {"status": {"loadBalancer": {"ingress": ingress}}},
            namespace=found.metadata.namespace,
            subresource="status",
        )

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

    def _own_slices(self, found: BalancedService) -> tuple[EndpointSlice, ...]:
        key = ObjectKey(namespace=found.metadata.namespace, name=found.metadata.name)
        held = (self._slices.objects.get(one) for one in sorted(self._slices_of.get(key, ())))
        return tuple(one for one in held if one is not None)

    def _pods_by_name(
        self, slices: Iterable[EndpointSlice]
    ) -> Mapping[tuple[str, str], WatchedPod]:
        found = {}
        for one in slices:
            for endpoint in one.endpoints or ():
                ref = endpoint.target_ref
                pod = self._pods.get(ref.name, namespace=ref.namespace)
                if pod is not None and (not ref.uid or pod.metadata.uid == ref.uid):
                    found[ref.namespace, ref.name] = pod
        return found

    def _of_slice(self, change: Change[EndpointSlice]) -> Iterator[ObjectKey]:
        """Keep which slices are whose, and yield the Services that one is about."""
        for one in (change.old, change.new):
            owner = one.metadata.labels.get(SERVICE_NAME) if one is not None else None
            if owner is None:
                continue
            key = ObjectKey(namespace=change.key.namespace, name=owner)
            held = self._slices_of.setdefault(key, set())
            if one is change.new:
                held.add(change.key)
            else:
                held.discard(change.key)
            yield key

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


def _of_pod(change: Change[WatchedPod]) -> Iterator[ObjectKey]:
    """Yield the Services that a pod waits for."""
    for one in (change.old, change.new):
        gates = (gate.condition_type for gate in one.spec.readiness_gates) if one else ()
        for name in services_of(gates):
            yield ObjectKey(namespace=change.key.namespace, name=name)


def _addresses(pod: WatchedPod, wanted: Wanted) -> tuple[IPAddress, ...]:
    versions = {family.value for family in wanted.families}
    held = (ip_address(one.ip) for one in pod.status.pod_ips)
    return tuple(one for one in held if one.version in versions)


def _last(said: list[Readiness]) -> Readiness:
    if said:
        return said[-1]
    return Readiness(is_true=False, reason="NotRegistered", message="it has no address yet")


def _ingress(settings: Settings, instances: Iterable[BalancerInstance]) -> Iterator[dict[str, str]]:
    if settings.hostname:
        yield {"hostname": settings.hostname}
        return
    for one in instances:
        if one.hostname:
            yield {"hostname": one.hostname}
        else:
            yield from ({"ip": str(address)} for address in one.addresses)
