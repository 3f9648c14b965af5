"""Controller `eni`: each NetworkInterface comes to be where it is wished to be, or goes.

What is next, `podeni.eni_life` says, from a fresh look at the cloud; here are the calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from terway.controlplane.controller import DONE, Informers, Outcome, Watch, own_key
from terway.controlplane.counted import Counted
from terway.controlplane.podenis.calls import Calls
from terway.controlplane.podenis.eni_doing import ENIDoer, Watched
from terway.controlplane.podenis.explaining import Explainer
from terway.controlplane.podenis.holding import Holding, owns
from terway.controlplane.podenis.lookout import Lookout
from terway.controlplane.podenis.pace import Pace
from terway.controlplane.podenis.pod_eni import eni_ids_of
from terway.controlplane.podenis.reading import known_as_of, wish_of
from terway.controlplane.podenis.room import Room
from terway.controlplane.podenis.telling import Teller
from terway.controlplane.ports import KubePort
from terway.controlplane.watched import WATCHED_NODES
from terway.kube.crds import (
    NETWORK_INTERFACES,
    POD_ENIS,
    NetworkInterface,
    PodENI,
)
from terway.kube.informer import Change
from terway.kube.resource import ObjectKey
from terway.kube.types import Node
from terway.model.eni import ENI
from terway.model.errors import CapacityError, ConflictError, VpcError
from terway.model.ids import ENIId
from terway.podeni.eni_life import (
    AttachENI,
    DetachENI,
    ENICommand,
    Report,
    Wish,
    first_call,
    step_eni,
)

LOST_S = 20.0  # lists may lag; an ENI that is not in one for so long is gone
_AWAITED_S = 2.0  # before it is asked again whether a PodENI that is gone is there again
_HELD = (
    "somebody deleted the NetworkInterface {eni} under its pod: it is written again, and the ENI "
    "stays; delete the pod to have it gone"
)


class ENIController:
    """Controls NetworkInterfaces. `clock` is monotonic seconds."""

    name = "eni"

    def __init__(
        self,
        client: KubePort,
        informers: Informers,
        calls: Calls,
        lookout: Lookout,
        teller: Teller,
        *,
        room: Room,
        explainer: Explainer,
        clock: Callable[[], float],
        counted: Counted | None = None,
        concurrency: int = 300,
    ) -> None:
        self.concurrency = concurrency
        self._client = client
        self._lookout = lookout
        self._teller = teller
        self._clock = clock
        self._room = room
        self._explainer = explainer
        self._interfaces = informers.of(NETWORK_INTERFACES)
        self._records = informers.of(POD_ENIS)
        self._holding = Holding(client, informers)
        self._pace = Pace()
        self._doer = ENIDoer(
            client,
            calls,
            room=room,
            pace=self._pace,
            clock=clock,
            counted=counted or Counted(),
        )
        self._watched: dict[str, Watched] = {}
        self.watches: tuple[Watch, ...] = (
            Watch(resource=NETWORK_INTERFACES, keys_of=own_key),
            Watch(resource=POD_ENIS, keys_of=_enis_let_go),
            Watch(resource=WATCHED_NODES, keys_of=self._of_node),
        )

    async def run(self, wake: Callable[[ObjectKey], None]) -> None:
        """Have those woken who wait for slots, until cancelled."""
        self._room.attaching.wake = wake
        await asyncio.get_running_loop().create_future()

    def _of_node(self, change: Change[Node]) -> Iterable[ObjectKey]:
        self._room.node_changed(change.old, change.new)
        return ()

    async def reconcile(self, key: ObjectKey) -> Outcome:
        """Do what is next for one ENI."""
        found: NetworkInterface | None = self._interfaces.objects.get(key)
        if found is None:
            self._let_go(key)
            return DONE
        wish = wish_of(found)
        if wish.is_resting:
            self._let_go(key)
            return await self._drop_orphan(found)
        if wish.is_deleted and await self._is_held(found):
            self._let_go(key)
            return DONE
        if wish.is_deleted and await self._holding.is_awaited(found):
            return Outcome(again_in_s=_AWAITED_S)
        return await self._advance(key, found, wish)

    async def _advance(self, key: ObjectKey, found: NetworkInterface, wish: Wish) -> Outcome:
        watched = self._watch(key, wish)
        left_s = self._room.attaching.left_s(key)
        if left_s:
            return Outcome(again_in_s=left_s)
        command = await self._next(found, watched)
        if command is None:
            return self._again(watched)
        return await self._carry_out(found, watched, command)

    async def _is_held(self, found: NetworkInterface) -> bool:
        """Return whether a pod has the ENI of what somebody deletes; then only that goes."""
        owner = await self._holding.holder_of(found)
        if owner is None:
            return False
        await self._doer.release(found)
        self._teller.failed(owner, "DeleteENI", _HELD.format(eni=found.metadata.name))
        return True

    async def _next(self, found: NetworkInterface, watched: Watched) -> ENICommand | None:
        """Return what to do now, None where nothing but to wait."""
        if not watched.is_begun and await self._begin(found, watched):
            return None
        eni = await self._look(found)
        return None if self._is_in_doubt(watched, eni) else step_eni(watched.wish, eni)

    async def _begin(self, found: NetworkInterface, watched: Watched) -> bool:
        """Do what is first, by what is known of the ENI; return whether the cloud had it so."""
        watched.is_begun = True
        command = first_call(watched.wish, known_as_of(found))
        if command is None:
            return False
        try:
            await self._doer.do(found, watched, command)
        except VpcError:
            return False  # a look will tell why, and what is next
        return True

    async def _look(self, found: NetworkInterface) -> ENI | None:
        try:
            return await self._lookout.look(ENIId(found.metadata.name))
        except VpcError as error:
            self._say(found, "LookAtENI", error)
            raise

    def _let_go(self, key: ObjectKey) -> None:
        """Forget an ENI that nothing is wished of; who waited for a slot waits no more."""
        self._watched.pop(key.name, None)
        self._room.attaching.left(key)

    def _watch(self, key: ObjectKey, wish: Wish) -> Watched:
        watched = self._watched.get(key.name)
        if watched is None or watched.wish != wish:
            self._let_go(key)
            watched = self._watched[key.name] = Watched(wish=wish, since=self._clock())
        return watched

    def _is_in_doubt(self, watched: Watched, eni: ENI | None) -> bool:
        """Return whether the cloud's list does not have an ENI that it may have all the same."""
        if eni is not None or watched.wish.is_deleted:
            watched.missing_since = None
            return False
        if watched.missing_since is None:
            watched.missing_since = self._clock()
        return self._clock() - watched.missing_since < LOST_S

    def _again(self, watched: Watched) -> Outcome:
        """Look again when it may be there."""
        kind, since = watched.asked or (None, watched.since)
        return Outcome(again_in_s=self._pace.next_s(kind, self._clock() - since))

    async def _carry_out(
        self, found: NetworkInterface, watched: Watched, command: ENICommand
    ) -> Outcome:
        try:
            await self._doer.do(found, watched, command)
        except ConflictError as error:
            # The look was old, or somebody else is at it; or the instance is gone.
            if self._clock() - watched.since > LOST_S:
                self._tell(found, command, error)
            return self._again(watched)
        except VpcError as error:
            self._tell(found, command, error)
            if isinstance(command, AttachENI) and isinstance(error, CapacityError):
                wait_s = self._room.wait_to_attach(found, command.target, error)
                return Outcome(again_in_s=wait_s)
            raise
        return DONE if isinstance(command, Report) else self._again(watched)

    async def _drop_orphan(self, found: NetworkInterface) -> Outcome:
        """Delete an ENI whose PodENI is gone: it died between two records of its creation."""
        reference = found.spec.pod_eni_ref
        if reference is None or found.spec.manage_policy.unmanaged:
            return DONE
        if owns(self._records.get(reference.name, namespace=reference.namespace), found):
            return DONE
        if await self._holding.is_awaited(found):
            return Outcome(again_in_s=_AWAITED_S)
        owner = await self._client.get(POD_ENIS, reference.name, namespace=reference.namespace)
        if not owns(owner, found):
            await self._client.delete(NETWORK_INTERFACES, found.metadata.name)
        return DONE

    def _tell(self, found: NetworkInterface, command: ENICommand, error: VpcError) -> None:
        what = {AttachENI: "AttachENI", DetachENI: "DetachENI"}.get(type(command), "DeleteENI")
        self._say(found, what, error)

    def _say(self, found: NetworkInterface, what: str, error: VpcError) -> None:
        reference = found.spec.pod_eni_ref
        if reference is None:
            return
        owner: PodENI | None = self._records.get(reference.name, namespace=reference.namespace)
        if owner is not None:
            told = self._explainer.text_of(error, owner) or str(error)
            self._teller.failed(owner, what, f"{found.metadata.name}: {told}")


def _enis_let_go(change: Change[PodENI]) -> Iterable[ObjectKey]:
    """Return the ENIs that a PodENI has no more."""
    kept = eni_ids_of(change.new)
    gone = (one for one in eni_ids_of(change.old) if one not in kept)
    return tuple(ObjectKey(namespace="", name=one) for one in gone)
