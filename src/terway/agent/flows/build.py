"""The flow log over the policies that this node enforces: what it stands on, for real."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Protocol

from terway.agent.flows.flood import RATE_PER_S
from terway.agent.flows.followers import Wish
from terway.agent.flows.keep import KeptFlows
from terway.agent.flows.knowledge import ClusterKnowledge, Heard
from terway.agent.flows.page import PATH, FlowPage
from terway.agent.flows.ring import Programs
from terway.agent.flows.service import FlowLog, Outside
from terway.agent.flows.taps import GROUP
from terway.agent.streams import Stream
from terway.config.choices import FlowLogging
from terway.linux.nflog import COPY_BYTES, PacketLog, bind_packet_log
from terway.model.ids import NodeName
from terway.policy.nft import skeleton


class Enforced(Protocol):
    """Who enforces policies: `agent.policy.service.PolicyService`."""

    @property
    def view(self) -> Heard:
        """Return what has been heard of the cluster."""

    @property
    def has_tables(self) -> bool:
        """Return whether there are tables of nftables."""

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Return the namespaces of pods that are judged in their own."""

    async def log_flows(self, flow_log: skeleton.FlowLog | None) -> None:
        """Have the rules of all places tell, later ones as well. Raises VpcError."""


def page_of(log: FlowLog) -> tuple[str, Stream]:
    """Return the path and the stream by which a flow log is read."""
    return PATH, FlowPage(log).stream


def make_flow_log(
    enforced: Enforced, node: NodeName, state_dir: Path, programs: Programs | None
) -> FlowLog:
    """Return the flow log of a node; `programs` are those of its data path in eBPF, if any."""
    loop_time = asyncio.get_running_loop().time

    def places() -> Iterable[str]:
        if not enforced.has_tables:
            return ()
        # Inside of pods the programs see all that tables see there.
        return ("",) if programs is not None else ("", *enforced.namespaces)

    outside = Outside(
        knowledge=ClusterKnowledge(enforced.view, now=loop_time),
        rules=PolicyRules(enforced),
        open_tap=_open_tap,
        places=places,
        kept=KeptFlows(state_dir / "flows" / "flows.jsonl"),
        programs=programs,
        now=loop_time,
    )
    return FlowLog(node, outside)


def wish_of(logging: FlowLogging, sample: int) -> Wish | None:
    """Return what eni-config wishes to be logged always."""
    match logging:
        case FlowLogging.OFF:
            return None
        case FlowLogging.DENIED:
            return Wish()
        case FlowLogging.ALL:
            return Wish(sample=sample)


class PolicyRules:
    """The rules of the policy tables. A place that comes later is told by who makes its table."""

    def __init__(self, enforced: Enforced) -> None:
        self._enforced = enforced

    async def set_logging(self, wish: Wish | None) -> None:
        """Have the rules log what is wished; None: nothing. Raises VpcError."""
        await self._enforced.log_flows(_flow_log(wish))


def _flow_log(wish: Wish | None) -> skeleton.FlowLog | None:
    if wish is None:
        return None
    return skeleton.FlowLog(
        group=GROUP, rate_per_s=RATE_PER_S, one_in=wish.sample, snaplen_bytes=COPY_BYTES
    )


async def _open_tap(netns: str) -> PacketLog:
    # In a thread: it is in the pod's namespace for a moment.
    return await asyncio.to_thread(partial(bind_packet_log, GROUP, netns))
