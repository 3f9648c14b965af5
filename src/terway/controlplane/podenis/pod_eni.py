"""Controller `pod-eni`: the life of each PodENI, step by step. What is next, `podeni.life` says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

from terway.controlplane.controller import DONE, Informers, Outcome, Watch, own_key
from terway.controlplane.podenis.doing import Doer
from terway.controlplane.podenis.making import FULL
from terway.controlplane.podenis.reading import node_of, pod_of, record_of, state_of, wants_eni
from terway.controlplane.podenis.room import Room
from terway.controlplane.podenis.telling import Teller
from terway.controlplane.podenis.words import networks_of
from terway.controlplane.podenis.writes import Writes
from terway.controlplane.ports import KubePort
from terway.controlplane.watched import WATCHED_NODES, WATCHED_PODS, WatchedPod
from terway.kube.crds import NETWORK_INTERFACES, POD_ENIS, NetworkInterface, PodENI
from terway.kube.informer import Change
from terway.kube.resource import ObjectKey
from terway.model.errors import CapacityError, ConflictError, UsageError
from terway.model.ids import ENIId
from terway.podeni.commands import CreateENIs, Step
from terway.podeni.life import step
from terway.podeni.record import PodState, World
from terway.podeni.settings import Settings

_OTHER_S = 0.1  # a vSwitch was full: before the next of the list is tried
_BEHIND_S = 1.0  # before a copy that is behind is worth another look


class PodENIController:
    """Controls PodENIs; their keys are those of their pods. `clock` is seconds since the epoch."""

    name = "pod-eni"

    def __init__(
        self,
        client: KubePort,
        informers: Informers,
        doer: Doer,
        writes: Writes,
        teller: Teller,
        *,
        room: Room,
        clock: Callable[[], float],
        settings: Callable[[], Settings],
        concurrency: int = 10,
    ) -> None:
        self.concurrency = concurrency
        self._client = client
        self._doer = doer
        self._writes = writes
        self._teller = teller
        self._room = room
        self._clock = clock
        self._settings = settings
        self._records = informers.of(POD_ENIS)
        self._interfaces = informers.of(NETWORK_INTERFACES)
        self._pods = informers.of(WATCHED_PODS)
        self._nodes = informers.of(WATCHED_NODES)
        self.watches: tuple[Watch, ...] = (
            Watch(resource=POD_ENIS, keys_of=own_key),
            Watch(resource=NETWORK_INTERFACES, keys_of=_owner_of),
            Watch(resource=WATCHED_PODS, keys_of=self._of_pod),
        )

    async def run(self, wake: Callable[[ObjectKey], None]) -> None:
        """Have those woken who wait for ENIs to be made, until cancelled."""
        self._room.creating.wake = wake
        await self._room.watch()

    def _of_pod(self, change: Change[WatchedPod]) -> Iterable[ObjectKey]:
        return (change.key,) if change.key in self._records.objects else ()

    async def reconcile(self, key: ObjectKey) -> Outcome:
        """Do the next step of one PodENI."""
        found: PodENI | None = self._records.objects.get(key)
        if found is None:
            self._room.creating.left(key)
            return DONE
        if self._writes.is_behind(found):
            return DONE
        next_ = step(self._world(key, found), now=self._clock())
        if next_.restores:
            return await self._restore(key, found, next_)
        if next_.problem:
            await self._say(found, next_.problem)
        if next_.takes and next_.commands and not await self._is_gone(key, found):
            return Outcome(again_in_s=_BEHIND_S)
        if any(isinstance(one, CreateENIs) for one in next_.commands):
            return await self._make(key, found, next_)
        self._room.creating.left(key)
        await self._do(found, next_)
        return Outcome(again_in_s=next_.again_in_s)

    async def _restore(self, key: ObjectKey, found: PodENI, next_: Step) -> Outcome:
        """Write again what is true of a pod that runs, if it does."""
        state = await self._state_now(key)
        if state is None or state.is_over or not state.runs_with(record_of(found)):
            return Outcome(again_in_s=_BEHIND_S)
        self._teller.failed(found, "UpdatePodENI", next_.problem)
        await self._do(found, next_)
        return DONE

    async def _make(self, key: ObjectKey, found: PodENI, next_: Step) -> Outcome:
        """Have ENIs made, or wait for the limit that is in the way."""
        waiting = self._room.creating
        left_s = waiting.left_s(key)
        if left_s:
            return Outcome(again_in_s=left_s)
        try:
            await self._do(found, next_)
        except CapacityError as error:
            if error.code.startswith(FULL):
                return Outcome(again_in_s=_OTHER_S)
            wait_s = self._room.wait_to_create(key, networks_of(found).values(), error)
            return Outcome(again_in_s=wait_s)
        waiting.served(key)
        return Outcome(again_in_s=next_.again_in_s)

    def _world(self, key: ObjectKey, found: PodENI) -> World:
        pod = self._state_of(self._pods.objects.get(key))
        node = None
        if pod is not None and pod.node_name is not None:
            node = node_of(self._nodes.get(pod.node_name))
        record = record_of(found)
        known = ((one, self._interfaces.get(one)) for one in record.eni_ids)
        enis = {one: state_of(each) for one, each in known if each is not None}
        return World(record=record, pod=pod, node=node, enis=enis)

    def _state_of(self, pod: WatchedPod | None) -> PodState | None:
        if pod is None:
            return None
        node = self._nodes.get(pod.spec.node_name) if pod.spec.node_name else None
        return pod_of(pod, wants=wants_eni(pod, node, self._settings()))

    async def _is_gone(self, key: ObjectKey, found: PodENI) -> bool:
        """Ask the API server itself whether the pod that a PodENI is for is gone."""
        state = await self._state_now(key)
        if state is None or state.is_over:
            return True
        record = record_of(found)
        return bool(record.pod_uid) and state.uid != record.pod_uid

    async def _state_now(self, key: ObjectKey) -> PodState | None:
        pod = await self._client.get(WATCHED_PODS, key.name, namespace=key.namespace)
        return self._state_of(pod)

    async def _do(self, found: PodENI, next_: Step) -> None:
        for command in next_.commands:
            try:
                found = await self._doer.do(found, command, self._interfaces)
            except (CapacityError, UsageError) as error:
                with suppress(ConflictError):
                    await self._writes.message(found, str(error))
                raise

    async def _say(self, found: PodENI, problem: str) -> None:
        if found.status.msg != problem:
            self._teller.failed(found, "UpdatePodENI", problem)
            await self._writes.message(found, problem)


def _owner_of(change: Change[NetworkInterface]) -> Iterable[ObjectKey]:
    """Return the PodENI that an ENI belongs to."""
    found = change.new or change.old
    reference = found.spec.pod_eni_ref if found is not None else None
    if reference is None:
        return ()
    return (ObjectKey(namespace=reference.namespace, name=reference.name),)


def eni_ids_of(found: PodENI | None) -> tuple[ENIId, ...]:
    """Return the ENIs of a PodENI."""
    return record_of(found).eni_ids if found is not None else ()
