"""How does the kernel state of pods that were taken over become ours, with no packet lost?

    members of trunks   known to the programs first, then the programs: none is unknown to them
    each pod in turn    what is missing is put beside what is there; MACs and rules stay as they are
    upstream's filters  removed afterwards (`leftovers`), when nothing needs them any more

Done before anything is served, and again after a crash: who has our alias is settled.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from terway.agent.network import KernelNetwork
from terway.datapath.names import alias_of
from terway.linux.kernel import Kernel
from terway.model.attachment import Attachment
from terway.model.errors import VpcError
from terway.model.interface import Mode
from terway.model.traffic import TrunkMember

_log = structlog.get_logger("takeover")


class Settling:
    """Settles the attachments that were taken over."""

    def __init__(self, kernel: Kernel, network: KernelNetwork) -> None:
        self._kernel = kernel
        self._network = network

    async def settle(self, attachments: Iterable[Attachment]) -> int:
        """Make the kernel state of those that are not settled ours; return how many they were.

        What fails is logged, and left to the mender: the pod runs as it did.
        """
        taken = [one for one in attachments if one.spec.macs is not None]
        if not taken:
            return 0
        aliases = {link.alias for link in await self._kernel.links()}
        due = [one for one in taken if alias_of(one.key) not in aliases]
        await self._network.ready_enis({one.device_mac for one in due})
        members = [
            part
            for one in due
            for part in self._network.desired_node_of(one)
            if isinstance(part, TrunkMember)
        ]
        await self._kernel.know_members(members)
        for one in due:
            await self._settle(one)
        return len(due)

    async def _settle(self, one: Attachment) -> None:
        try:
            if one.spec.mode is Mode.EXCLUSIVE:
                await self._network.mend(one)
            else:
                await self._network.prove(one)
        except VpcError as error:
            _log.warning("takeover.not_settled", pod=str(one.pod), error=str(error))
