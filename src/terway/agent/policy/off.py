"""NetworkPolicy is off: what an earlier terwayd had in force goes, and the node says so.

Or it is in force by other means now: then the tables go that nobody needs any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import structlog

from terway.agent.policy.bpf_enforcer import BpfEnforcer, Maps
from terway.agent.policy.nft_place import NftPlace
from terway.agent.policy.seats import Seat, seat_of
from terway.agent.policy.status import CONDITION
from terway.kube.client import KubeClient, PatchType
from terway.kube.policy_status import POLICY_NODE_STATUSES
from terway.kube.resource import NODES
from terway.linux.workers import Workers
from terway.model.attachment import Attachment
from terway.model.errors import VpcError
from terway.model.ids import NodeName
from terway.policy.nft.names import TABLE
from terway.policy.nft.skeleton import Options

_log = structlog.get_logger("policy")


class PolicyOff:
    """Removes what we had in tables and maps, once. `told` is called when there was something."""

    def __init__(
        self,
        client: KubeClient,
        node: NodeName,
        *,
        attachments: Callable[[], Iterable[Attachment]],
        told: Callable[[], None],
        maps: Maps | None = None,
    ) -> None:
        self._client = client
        self._node = node
        self._attachments = attachments
        self._told = told
        self._maps = maps

    async def run(self) -> None:
        """Remove what there is. What fails is logged: nothing of it is asked for any more."""
        workers = Workers(1)
        try:
            if await workers.run(self._remove):
                _log.warning("policy.switched_off", table=TABLE)
                self._told()
            await self._say_no_more()
        except VpcError as error:
            _log.warning("policy.not_removed", error=str(error))
        finally:
            workers.close()

    async def _say_no_more(self) -> None:
        """Take back what a terwayd that enforced said; at each start, the last may have failed."""
        await self._client.delete(POLICY_NODE_STATUSES, self._node)
        gone = {"type": CONDITION, "$patch": "delete"}
        await self._client.patch(
            NODES,
            self._node,
            {"status": {"conditions": [gone]}},
            kind=PatchType.STRATEGIC,
            subresource="status",
        )

    def _remove(self) -> bool:
        was_in_maps = self._maps is not None and BpfEnforcer(self._maps).remove()
        return _remove_all(self._attachments()) or was_in_maps


async def remove_tables(attachments: Iterable[Attachment]) -> None:
    """Remove our tables at the node and in its pods; what fails is logged."""
    workers = Workers(1)
    try:
        if await workers.run(partial(_remove_all, tuple(attachments))):
            _log.info("policy.tables_removed", table=TABLE)
    finally:
        workers.close()


def _remove_all(attachments: Iterable[Attachment]) -> bool:
    seats = (seat_of(one) for one in attachments)
    namespaces = {seat.netns for seat in seats if isinstance(seat, Seat) and seat.netns}
    removed = [_remove_from(netns) for netns in ("", *namespaces)]
    return any(removed)


def _remove_from(netns: str) -> bool:
    try:
        return NftPlace(netns, Options()).remove()
    except VpcError as error:  # a pod that holds its table keeps it; the others' go all the same
        _log.warning("policy.not_removed", netns=netns, error=str(error))
        return False
