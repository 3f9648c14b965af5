"""Was upstream Terway here before? What main asks at each start, and what it does about it.

The reading itself is imported only where upstream's journal is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from terway.agent.kube_side import KubeSide
from terway.agent.leftovers import OLD_JOURNAL
from terway.agent.moments import read_moment
from terway.agent.paths import Paths
from terway.agent.pool_ports import StorePort
from terway.agent.terwayd import Terwayd
from terway.cloud.metadata import MetadataClient
from terway.kube.client import KubeClient
from terway.linux.kernel import open_kernel
from terway.model.attachment import Attachment

TOLD = "UpstreamTakenOver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """What was found, and what the journal holds by now.

    `told` says what became of upstream's pods; empty but at the start that took them over.
    """

    held: tuple[Attachment, ...]
    is_taken: bool = False
    told: str = ""

    def join(self, terwayd: Terwayd, kube: KubeSide | None) -> None:
        """Have `terwayd` know. To be called before it runs."""
        terwayd.leftovers.is_taken = self.is_taken
        if self.is_taken:
            terwayd.chores["remains"] = partial(_remove_remains, terwayd, kube)
        if self.told and kube is not None:
            kube.warnings.tell_node(TOLD, self.told)


async def _remove_remains(terwayd: Terwayd, kube: KubeSide | None) -> None:
    """Have what upstream's policy engines left go. Who enforces policies is known by now."""
    from terway.agent.remains import RemainsKeeper

    await RemainsKeeper(
        reconciled=terwayd.reconciled,
        judged=terwayd.judged,
        attachments=terwayd.pool.attachments,
        teller=None if kube is None else kube.warnings,
    ).run()


async def find_upstream(
    store: StorePort, paths: Paths, metadata: MetadataClient, client: KubeClient | None
) -> Upstream:
    """Return what the journal holds; where it is empty, with what upstream's has taken over."""
    relations = paths.state_dir / OLD_JOURNAL
    if not relations.is_file():
        return Upstream(held=(await store.load()).attachments)
    from terway.agent.takeover import TAKEN, take_over, told_of
    from terway.pooling.upstream import Sources
    from terway.pooling.upstream_members import Members

    async with open_kernel() as kernel:
        members = None if client is None else Members(client)
        boot_id = read_moment().boot_id
        sources = Sources(kernel=kernel, enis=metadata, members=members, boot_id=boot_id)
        verdicts = await take_over(store, relations, sources)
    journal = await store.load()
    return Upstream(
        held=journal.attachments, is_taken=TAKEN in journal.marks, told=told_of(verdicts)
    )
