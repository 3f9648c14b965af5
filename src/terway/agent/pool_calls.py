"""How is a command of the pool carried out? One call to a port, and the event it ends in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from terway.agent.pool_ports import ConntrackPort, LinkPort, StorePort
from terway.agent.supply import Supply
from terway.ipam.commands import CloudCommand, FlushConntrack, WaitLink
from terway.ipam.events import ConntrackCleared, Event, LinkReady
from terway.ipam.settings import PoolConfig
from terway.pooling.calls import CloudCalls
from terway.pooling.ports import CloudPort


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The outside, as far as the pool needs it."""

    cloud: CloudPort | Supply
    store: StorePort
    links: LinkPort
    conntrack: ConntrackPort


class Calls:
    """Carries out commands, each by itself."""

    def __init__(self, config: PoolConfig, ports: Ports, clock: Callable[[], float]) -> None:
        cloud = ports.cloud
        self._cloud = cloud if isinstance(cloud, Supply) else CloudCalls(config, cloud, clock)
        self._links = ports.links
        self._conntrack = ports.conntrack

    async def carry_out(self, command: CloudCommand) -> Event:
        """Make the call that `command` names and return its event; the port's error goes out."""
        match command:
            case WaitLink(eni_id=eni_id, mac=mac):
                await self._links.wait_eni_ready(mac)
                return LinkReady(eni_id=eni_id)
            case FlushConntrack(addresses=addresses):
                await self._conntrack.delete_entries(addresses)
                return ConntrackCleared(addresses=addresses)
            case _:
                return await self._cloud.carry_out(command)
