"""How is a command of `podeni.life` carried out?

What is said to be gone is looked for before it is forgotten: at the API server, because a copy may
be behind, and at the cloud, because a NetworkInterface may have been taken away by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

import msgspec

from terway.controlplane.podenis.explaining import Explainer
from terway.controlplane.podenis.lookout import Lookout, look_at
from terway.controlplane.podenis.making import Maker, emptied, next_try
from terway.controlplane.podenis.telling import Teller
from terway.controlplane.podenis.writes import Writes
from terway.controlplane.ports import KubePort
from terway.kube.crds import NETWORK_INTERFACES, POD_ENIS, NetworkInterface, PodENI
from terway.kube.informer import Informer
from terway.model.errors import ConflictError, VpcError
from terway.model.ids import ENIId
from terway.podeni.commands import (
    Attach,
    Claim,
    Command,
    CreateENIs,
    DeleteENIs,
    Detach,
    Forget,
    ForgetENIs,
    Release,
    SetPhase,
)
from terway.podeni.record import Phase


class Doer:
    """Carries out commands, one PodENI after the other's state."""

    def __init__(
        self,
        client: KubePort,
        maker: Maker,
        writes: Writes,
        lookout: Lookout,
        teller: Teller,
        *,
        explainer: Explainer,
    ) -> None:
        self._client = client
        self._maker = maker
        self._writes = writes
        self._lookout = lookout
        self._teller = teller
        self._explainer = explainer

    async def do(
        self, found: PodENI, command: Command, interfaces: Informer[NetworkInterface]
    ) -> PodENI:
        """Carry out `command`, and return the PodENI as it is then."""
        match command:
            case CreateENIs():
                return await self._create(found, command)
            case Attach(eni_ids=eni_ids, target=target):
                await self._writes.wish(found, eni_ids, Phase.BINDING, target)
            case Detach(eni_ids=eni_ids):
                await self._writes.wish(found, eni_ids, Phase.DETACHING)
            case DeleteENIs(eni_ids=eni_ids):
                for eni_id in eni_ids:
                    await self._client.delete(NETWORK_INTERFACES, eni_id)
            case ForgetENIs(eni_ids=eni_ids):
                return await self._forget_enis(found, eni_ids)
            case Claim(pod_uid=pod_uid, node_name=node_name):
                return await self._writes.claim(found, pod_uid, node_name)
            case SetPhase():
                return await self._set_phase(found, command, interfaces)
            case Forget():
                metadata = found.metadata
                await self._client.delete(
                    POD_ENIS, metadata.name, namespace=metadata.namespace, uid=metadata.uid
                )
            case Release():
                await self._release(found)
            case _:
                assert_never(command)
        return found

    async def _create(self, found: PodENI, command: CreateENIs) -> PodENI:
        names = ", ".join(command.interfaces)
        try:
            found = await self._maker.make(found, command.interfaces, command.zone_id)
        except ConflictError:
            raise  # somebody was faster: nothing that a user has to know
        except VpcError as error:
            told = self._explainer.explain(error, found)
            self._teller.failed(found, "CreateENI", f"no ENI for {names}: {told}")
            raise told from error
        made = ", ".join(one.eni.id for one in found.spec.allocations if one.eni.id)
        self._teller.succeeded(found, "CreateENI", f"{names} of the pod: {made}")
        return found

    async def _set_phase(
        self, found: PodENI, command: SetPhase, interfaces: Informer[NetworkInterface]
    ) -> PodENI:
        infos: dict[str, Any] = {}
        if command.phase is Phase.BIND:
            for one in found.spec.allocations:
                known = interfaces.get(one.eni.id)
                if known is not None:
                    infos[one.eni.id] = msgspec.to_builtins(known.status.eni_info)
        after = await self._writes.status(
            found, command.phase, command.target, is_seen=command.is_seen, infos=infos
        )
        if command.phase is Phase.BIND:
            text = f"{', '.join(infos)} attached to {after.status.instance_id}"
            self._teller.succeeded(after, "AttachENI", text)
        if command.phase is Phase.UNBIND and found.status.phase == Phase.DETACHING.value:
            self._teller.succeeded(after, "DetachENI", "kept for the next pod of the name")
        return after

    async def _forget_enis(self, found: PodENI, eni_ids: Sequence[ENIId]) -> PodENI:
        if await self._are_there(found, eni_ids):
            return found
        changed = [emptied(one) if one.eni.id in eni_ids else one for one in found.spec.allocations]
        return await self._writes.allocations(found, changed, annotations=next_try(found))

    async def _release(self, found: PodENI) -> None:
        ids = [ENIId(one.eni.id) for one in found.spec.allocations if one.eni.id]
        try:
            are_there = await self._are_there(found, ids)
        except ConflictError:
            raise
        except VpcError as error:
            text = f"nobody can say whether {', '.join(ids)} is gone: {error}"
            self._teller.failed(found, "DeletePodENI", text)
            raise
        if not are_there:
            await self._writes.release(found)
            self._teller.succeeded(found, "DeleteENI", ", ".join(ids) or "there was none")

    async def _are_there(self, found: PodENI, eni_ids: Sequence[ENIId]) -> bool:
        """Return whether one of these ENIs is not gone yet; then somebody sees to its end."""
        for eni_id in eni_ids:
            if await self._client.get(NETWORK_INTERFACES, eni_id) is not None:
                return True
        left = {eni.id for eni in await look_at(self._lookout, eni_ids)}
        for one in found.spec.allocations:
            if one.eni.id in left:
                await self._writes.make_interface(found, one)
        return bool(left)
