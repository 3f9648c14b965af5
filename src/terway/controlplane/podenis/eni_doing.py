"""How is a command of `podeni.eni_life` carried out, and what is learnt of how long it takes?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, assert_never

from terway.controlplane.counted import Counted
from terway.controlplane.podenis.calls import Calls
from terway.controlplane.podenis.pace import Kind, Pace, Work
from terway.controlplane.podenis.reading import DELETED
from terway.controlplane.podenis.room import Room
from terway.controlplane.ports import KubePort
from terway.kube.crds import ENI_FINALIZER, NETWORK_INTERFACES, NetworkInterface
from terway.kube.resource import ObjectKey
from terway.model.ids import ENIId
from terway.podeni.eni_life import (
    AttachENI,
    DeleteENI,
    DetachENI,
    ENICommand,
    ReleaseENI,
    Report,
    Wish,
)
from terway.podeni.record import Phase, Target


@dataclass(slots=True)
class Watched:
    """An ENI that something is wished of: since when, and since when the cloud has none.

    `asked` is what the cloud was asked for last, and when.
    """

    wish: Wish
    since: float
    is_begun: bool = False
    asked: tuple[Kind, float] | None = None
    missing_since: float | None = None
    is_deletion_asked: bool = False


class ENIDoer:
    """Carries out commands, one ENI's at a time. `clock` is monotonic seconds."""

    def __init__(
        self,
        client: KubePort,
        calls: Calls,
        *,
        room: Room,
        pace: Pace,
        clock: Callable[[], float],
        counted: Counted,
    ) -> None:
        self._client = client
        self._calls = calls
        self._room = room
        self._pace = pace
        self._clock = clock
        self._counted = counted

    async def do(self, found: NetworkInterface, watched: Watched, command: ENICommand) -> None:
        """Carry out `command`. Raises what the call raises."""
        eni_id = ENIId(found.metadata.name)
        match command:
            case AttachENI(target=target):
                await self._calls.attach(eni_id, target)
                self._asked(watched, Work.ATTACH, target)
                self._room.attaching.served(ObjectKey(namespace="", name=eni_id))
            case DetachENI(target=target):
                await self._calls.detach(eni_id, target)
                self._asked(watched, Work.DETACH, target)
            case DeleteENI():
                await self._delete(eni_id, watched)
            case ReleaseENI():
                # An ENI that a list does not have yet is deleted all the same.
                if not (watched.is_deletion_asked or watched.wish.is_foreign):
                    await self._delete(eni_id, watched)
                await self.release(found)
                self._room.deleted(found)
            case Report():
                if not command.is_lost:
                    self._learn(watched)
                kind = await self._report(found, command)
                if command.phase is Phase.UNBIND:
                    self._room.detached(watched.wish.target)
                if command.phase is Phase.BIND:
                    self._counted.attached(kind, self._clock() - watched.since)
            case _:
                assert_never(command)

    def _asked(self, watched: Watched, work: Work, target: Target) -> None:
        watched.asked = (Kind(work, target.trunk_eni_id is not None), self._clock())

    def _learn(self, watched: Watched) -> None:
        """Note how long the cloud took for what it was asked."""
        if watched.asked is not None:
            kind, since = watched.asked
            self._pace.learn(kind, self._clock() - since)

    async def _delete(self, eni_id: ENIId, watched: Watched) -> None:
        await self._calls.delete(eni_id)
        if not watched.is_deletion_asked:
            self._room.detached(watched.wish.target)  # only what is nowhere can be deleted
        watched.is_deletion_asked = True

    async def release(self, found: NetworkInterface) -> None:
        """Take our finalizer away."""
        kept = [one for one in found.metadata.finalizers if one != ENI_FINALIZER]
        await self._patch(found, {"finalizers": kept}, {})

    async def _report(self, found: NetworkInterface, report: Report) -> str:
        """Write where an ENI is, and return what kind it is of."""
        target = report.target
        is_bound = report.phase is Phase.BIND
        kind = "Member" if target is not None and target.trunk_eni_id else "Secondary"
        status: dict[str, Any] = {
            "phase": report.phase.value,
            "instanceID": target.instance_id if target else "",
            "trunkENIID": (target.trunk_eni_id or "") if target else "",
            "eniInfo": {
                "id": found.metadata.name,
                "type": kind,
                "vid": report.vlan_id,
                "status": DELETED if report.is_lost else ("Bind" if is_bound else "Unbind"),
            },
        }
        if not is_bound:
            status["nodeName"] = ""
        await self._patch(found, {}, {"status": status}, subresource="status")
        return kind

    async def _patch(
        self,
        found: NetworkInterface,
        metadata: dict[str, Any],
        patch: dict[str, Any],
        *,
        subresource: str = "",
    ) -> None:
        version = {"resourceVersion": found.metadata.resource_version}
        await self._client.patch(
            NETWORK_INTERFACES,
            found.metadata.name,
            {"metadata": {**version, **metadata}, **patch},
            subresource=subresource,
        )
