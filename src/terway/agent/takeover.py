"""Which pods of upstream Terway become terwayd's, at its first start on a node that ran upstream?

ResRelation.db ─► drafts ─► kernel, metadata, PodENIs ─► verdicts ─► journal: all at once, once

Only an empty journal is filled: what is in it already decides (decision record 24). Nothing is
changed here but the journal; the kernel is made ours by `settling`, before anything is served.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import structlog

from terway.agent.pool_ports import StorePort
from terway.datapath.takeover import Outcome, Verdict
from terway.pooling.upstream import Sources, judge_all
from terway.store.records import Batch, Journal, MarkRecord

TAKEN = MarkRecord(name="upstream")  # upstream's journal was read, once and for all

_log = structlog.get_logger("takeover")


async def take_over(store: StorePort, relations: Path, sources: Sources) -> tuple[Verdict, ...]:
    """Journal the pods of upstream that run here; return what became of each.

    Nothing where the journal is not empty or upstream has none. Raises TransientError where
    metadata or API server do not answer: half of the pods is worse than a start that is repeated.
    """
    if await store.load() != Journal():
        return ()
    verdicts = await judge_all(relations, sources)
    if not verdicts:
        return ()
    made = tuple(made for one in verdicts for made in one.attachments)
    await store.write(Batch(put=(*made, TAKEN)))
    for one in verdicts:
        _log.info("takeover.pod", pod=str(one.pod), outcome=one.outcome.value, why=one.why)
    return verdicts


def told_of(verdicts: Iterable[Verdict]) -> str:
    """Return in a sentence or two what became of upstream's pods; empty where there were none."""
    by = {outcome: [one for one in verdicts if one.outcome is outcome] for outcome in Outcome}
    if not any(by.values()):
        return ""
    counts = ", ".join(f"{len(found)} {outcome.value}" for outcome, found in by.items())
    left = "; ".join(f"{one.pod}: {one.why}" for one in by[Outcome.LEFT_ALONE][:5])
    remedy = f". Restart those that are left alone, one by one: {left}" if left else ""
    return f"pods of upstream Terway: {counts}{remedy}"
