"""How does the node's mode shape what terwayd is told? Pool, facts and the runtime's list."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import structlog

from terway.agent.exclusive_pool import exclusive_pool
from terway.capacity.pods import Mode as CapacityMode
from terway.capacity.pods import require_capacity
from terway.config.agent_config import AgentConfig
from terway.config.exclusive_conf import exclusive_conflist, host_stack_cidrs
from terway.config.findings import Caution
from terway.datapath.facts import NodeFacts
from terway.ipam.settings import PoolConfig
from terway.model.address import IPStack
from terway.model.attachment import Attachment
from terway.model.eni import InstanceLimits
from terway.model.errors import UsageError
from terway.model.interface import Mode

_CAPACITY: Mapping[Mode, CapacityMode] = {
    Mode.VETH: CapacityMode.SHARED,
    Mode.DATAPATHV2: CapacityMode.SHARED,
    Mode.IPVLAN: CapacityMode.SHARED,
    Mode.EXCLUSIVE: CapacityMode.EXCLUSIVE,
}

_log = structlog.get_logger("capacity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What depends on whether pods share ENIs."""

    mode: Mode
    pool: PoolConfig
    facts: NodeFacts
    conflist: bytes
    has_host_peer: bool


def shape_of(mode: Mode, config: AgentConfig, pool: PoolConfig, facts: NodeFacts) -> Shape:
    """Return what terwayd is told; `pool` and `facts` are those of a node in shared mode."""
    if mode is Mode.EXCLUSIVE:
        pool = exclusive_pool(pool, config.eni)
        facts = replace(facts, host_stack_cidrs=host_stack_cidrs(config.cni))
        conflist = exclusive_conflist(config.cni)
    else:
        conflist = config.cni.conflist
    return Shape(
        mode=mode,
        pool=pool,
        facts=facts,
        conflist=conflist,
        has_host_peer=config.cni.has_host_peer,
    )


def most_pods(limits: InstanceLimits) -> int:
    """Return how many pods an instance of this type can have at most, in whichever mode."""
    families = max(limits.eni_private_ip_address_quantity, limits.eni_ipv6_address_quantity)
    return limits.eni_quantity * families


def check_capacity(
    limits: InstanceLimits, mode: Mode, stack: IPStack, attachments: Collection[Attachment]
) -> tuple[Caution, ...]:
    """Raise UsageError when the instance type is too small for a node in `mode`.

    A node that has pods goes on with a caution (decision record 7).
    """
    try:
        require_capacity(limits, _CAPACITY[mode], stack)
    except UsageError as error:
        if not attachments:
            raise
        text = f"{error}; it goes on, for it has pods: {len(attachments)}"
        _log.warning("capacity.too_small", error=str(error), pods=len(attachments))
        return (Caution(field=error.field or "instance_type", text=text),)
    return ()
