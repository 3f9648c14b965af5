"""Controller `service`: are the load balancers of a Service as it says?

    read ─► wanted ─► find ─► plan ─► do ─┐      until nothing is left to do, then:
                        ▲─────────────────┘      status, health, gates

Each round reads the cloud anew. A Service's finalizer stays until nothing of ours is left there
(`leaving`); what the load balancers say of pods opens their gates (`opening`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from terway.controlplane.balancers.behind import Behind
from terway.controlplane.balancers.explaining import explain
from terway.controlplane.balancers.finalizer import hold, is_held, let_go
from terway.controlplane.balancers.gates import Gates
from terway.controlplane.balancers.labels import is_labelled, label, unlabel
from terway.controlplane.balancers.leaving import Leaving
from terway.controlplane.balancers.objects import (
    SERVICES,
    SLICES,
    BalancedService,
    is_ours,
    plain_service,
    service_of,
)
from terway.controlplane.balancers.opening import Opening
from terway.controlplane.balancers.owners import Owners
from terway.controlplane.balancers.rounds import Made, Products, Rounds
from terway.controlplane.balancers.served import read_served
from terway.controlplane.balancers.status import (
    ingress_of,
    is_published,
    is_said,
    write_ingress,
)
from terway.controlplane.controller import DONE, Informers, Outcome, Watch, own_key
from terway.controlplane.ports import KubePort, Recorder
from terway.controlplane.watched import WATCHED_PODS
from terway.kube.errors import is_raced
from terway.kube.events import NORMAL, WARNING
from terway.kube.informer import Informer
from terway.kube.resource import ObjectKey, key_of
from terway.kube.types import ObjectReference
from terway.loadbalancer.annotations import Settings, parse_annotations
from terway.loadbalancer.plan import may_listen
from terway.loadbalancer.readiness import NOTHING_TO_WAIT_FOR
from terway.loadbalancer.values import Cluster
from terway.loadbalancer.wanted import wanted_of
from terway.model.errors import CapacityError, UsageError, VpcError

_WATCHFUL_S = 1.0  # while a pod waits for health, or the cloud works on something
_RESYNC_S = 300.0  # somebody may have changed the instance by hand
_KEPT_UP = "until then only its backends follow the pods"


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
        self._leaving = Leaving(self._rounds, cluster)
        self._opening = Opening(self._gates, products.finder, recorder)
        self._services: Informer[BalancedService] = informers.of(SERVICES)
        self._behind = Behind(informers)
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
            # Who was slower than another writer reads again: nobody has to do anything.
            if found is not None and not is_raced(error):
                await self._tell_failure(found, error)
            # What the cloud refuses today it may take soon; what a Service says stays so.
            if found is None or not isinstance(error, UsageError) or error.code:
                raise
            return Outcome(again_in_s=_RESYNC_S)

    async def _look_at(self, found: BalancedService) -> Outcome:
        if found.metadata.deletion_timestamp is not None or not is_ours(found):
            return await self._leave(found)
        try:
            return await self._keep(found)
        except UsageError as refusal:
            if refusal.code:  # the cloud's, of one thing: all else was done
                raise
            return await self._keep_up(found, refusal)

    async def _let_pass(self, key: ObjectKey) -> None:
        """Open the gates of pods that wait for a load balancer which nobody wants any more."""
        for pod in self._behind.waiting(key):
            await self._gates.write(key.name, pod, NOTHING_TO_WAIT_FOR)

    async def _keep(self, found: BalancedService) -> Outcome:
        service = service_of(found)
        settings = parse_annotations(service.annotations, service.product)
        await hold(self._client, found)
        served = await read_served(key_of(found), self._behind, self._owners)
        instances = wanted_of(service, settings, served.endpoints, self._cluster())
        made = [await self._rounds.make(one) for one in instances]
        await self._leaving.clear(found, instances)
        await self._write_status(found, settings, made)
        trouble = next((one.trouble for one in made if one.trouble is not None), None)
        if trouble is not None:
            trouble = explain(trouble, service.annotations, service.product)
            if any(one.trouble is not None and not one.observed.listeners for one in made):
                await label(self._client, found, made)
                raise trouble  # no health to wait for
        waiting = await self._opening.open_gates(service.name, served.pods.values(), made)
        await label(self._client, found, made)  # after the pods, who are in a hurry
        if trouble is not None:
            if not waiting:
                raise trouble
            self._tell(found, WARNING, "SyncLoadBalancerFailed", str(trouble))
        is_settled = all(one.is_settled for one in made) and served.is_known
        return Outcome(again_in_s=_RESYNC_S if is_settled and not waiting else _WATCHFUL_S)

    async def _keep_up(self, found: BalancedService, refusal: UsageError) -> Outcome:
        """Have what a refused Service has send to its pods; where it has nothing, raise `refusal`.

        What the pods' gates wait for is what those say who are there.
        """
        served = await read_served(key_of(found), self._behind, self._owners)
        service = plain_service(found)
        made = [
            one
            for holding in self._leaving.holdings(found)
            if (one := await self._rounds.keep_up(service, served.endpoints, holding)) is not None
        ]
        if not made:
            raise refusal
        self._tell(found, WARNING, "SyncLoadBalancerFailed", f"{refusal}; {_KEPT_UP}")
        waiting = await self._opening.open_gates(service.name, served.pods.values(), made)
        trouble = next((one.trouble for one in made if one.trouble is not None), None)
        if trouble is not None:
            if not waiting:
                raise trouble  # then the next try is later and later
            self._tell(found, WARNING, "SyncLoadBalancerFailed", str(trouble))
        is_settled = all(one.is_settled for one in made) and served.is_known
        return Outcome(again_in_s=_RESYNC_S if is_settled and not waiting else _WATCHFUL_S)

    async def _tell_failure(self, found: BalancedService, error: VpcError) -> None:
        """Tell at the Service, and at pods that wait for one that is refused."""
        self._tell(found, WARNING, "SyncLoadBalancerFailed", str(error))
        if isinstance(error, UsageError | CapacityError) and found.spec.type == "LoadBalancer":
            key = key_of(found)
            await self._opening.refuse(key.name, self._behind.waiting(key), str(error))

    async def _leave(self, found: BalancedService) -> Outcome:
        """Take away what the Service had, then let it go."""
        if not is_held(found):
            return DONE
        if not await self._leaving.take_all(found):
            return Outcome(again_in_s=_WATCHFUL_S)
        self._owners.forget(key_of(found))
        is_said = bool(found.status.load_balancer.ingress) or is_labelled(found)
        if found.metadata.deletion_timestamp is None and is_said:
            await unlabel(self._client, found)
            await write_ingress(self._client, SERVICES, found, [])
            return DONE  # this change has us look again; once it is let go, nobody does
        await let_go(self._client, found)
        self._tell(found, NORMAL, "DeletedLoadBalancer", "nothing of it is left at the cloud")
        return DONE

    async def _write_status(
        self, found: BalancedService, settings: Settings, made: Iterable[Made]
    ) -> None:
        instances = [
            instance
            for one in made
            if (instance := one.observed.instance) is not None
            and (may_listen(one.wanted, one.observed) or is_published(found, instance))
        ]
        if not instances:
            return  # a name of the user's own would lead nowhere, too
        ingress = list(ingress_of(settings, instances))
        if not ingress or is_said(found, ingress):
            return
        await write_ingress(self._client, SERVICES, found, ingress)
        where = ", ".join(one.get("hostname") or one["ip"] for one in ingress)
        which = ", ".join(instance.id for instance in instances)
        self._tell(found, NORMAL, "EnsuredLoadBalancer", f"{which}, reached at {where}")

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
