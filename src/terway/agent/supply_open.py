"""From where does a node know its pool: from the cloud, or from the control plane?

ipam_type ""     EcsClient, with credentials      the node sees to its own supply
ipam_type crd    Supply, by the API server alone  no credentials are opened, none are needed
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from terway.agent.instance import Allowance, Known, Place
from terway.agent.options import Options
from terway.agent.supply import KeptRound, Supply, other_instance, two_of_one_name
from terway.agent.supply_link import SupplyLink
from terway.agent.supply_spec import limits_of, supplied, wanted_spec
from terway.agent.terwayd import Terwayd
from terway.config.agent_config import AgentConfig
from terway.config.eni_conf import EniConf
from terway.ipam.settings import PoolConfig
from terway.kube.client import KubeClient
from terway.kube.crds import POOL_NODES
from terway.model.errors import UsageError, VpcError
from terway.model.ids import NodeName
from terway.model.interface import Mode

_LOOK_EVERY_S = 1.0

_log = structlog.get_logger("supply")


@dataclass(slots=True, kw_only=True)
class SupplySide:
    """What terwayd has of its control plane. `wanted` follows the configuration."""

    client: KubeClient
    node: NodeName
    allowance: Allowance
    kept: KeptRound
    supply: Supply
    wanted: Callable[[], dict[str, object]] = dict

    def shape(self, pool: PoolConfig, conf: EniConf, mode: Mode) -> PoolConfig:
        """Return what the pool is told, and ask the control plane for the rest."""
        self.wanted = lambda: wanted_spec(conf, pool, self.allowance.limits, mode)
        return supplied(pool)

    def join(self, terwayd: Terwayd) -> None:
        """Have `terwayd` follow and report. To be called before it runs."""
        link = SupplyLink(
            self.client,
            self.node,
            supply=self.supply,
            kept=self.kept,
            wanted=self._wanted_now,
        )
        terwayd.pool.on_change = link.changed.set
        terwayd.chores["supply"] = lambda: link.run(terwayd.pool)

    def _wanted_now(self) -> dict[str, object]:
        return self.wanted()


async def open_supply(
    client: KubeClient | None,
    options: Options,
    config: AgentConfig,
    place: Place,
    kept: Known | None,
) -> SupplySide:
    """Return the side of a node that is supplied; a first start waits for the control plane.

    Raises UsageError without a Kubernetes API.
    """
    kind = config.eni.ipam_type.value
    if client is None:
        text = f"eni_conf.ipam_type {kind} needs the Kubernetes API: remove --no-kubernetes, or it"
        raise UsageError(text, field="eni_conf.ipam_type")
    node = options.node_name
    rounds = kept_round(options)
    return SupplySide(
        client=client,
        node=node,
        allowance=await read_allowance(client, node, place, kept),
        kept=rounds,
        supply=Supply(rounds, clock=time.monotonic, instance_id=place.instance_id),
    )


def kept_round(options: Options) -> KeptRound:
    """Return what the node keeps of the rounds it has answered."""
    return KeptRound(options.paths.state_dir / "supply.json")


async def read_allowance(
    client: KubeClient,
    node: NodeName,
    place: Place,
    kept: Known | None,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Allowance:
    """Return what the control plane says of the instance's type; what is kept needs no question."""
    if kept is not None and kept.place == place and kept.allowance is not None:
        return kept.allowance
    said = ""
    while True:
        try:
            found = await client.get(POOL_NODES, node)
            why = "has no nodeCap yet" if found is not None else "is not there yet"
        except VpcError as error:
            found, why = None, str(error)
        other = other_instance(found, place.instance_id) if found is not None else ""
        if other:
            why = two_of_one_name(other, place.instance_id)
        elif found is not None and found.spec.node_cap.adapters:
            limits = limits_of(place.instance_type, found.spec.node_cap)
            return Allowance(limits=limits, security_group_ids=())
        if why != said:
            said = why
            _log.warning("supply.waiting", resource=f"nodes.{POOL_NODES.group}/{node}", why=why)
        await sleep(_LOOK_EVERY_S)
