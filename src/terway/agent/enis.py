"""An ENI's link: found by its MAC, configured once, remembered as long as it is there.

ENI attached ──udev, hot-plug──► link with the MAC ──configure──► ready to carry pods
      ▲                                                                  │
      └─────────── attached again: another number, another table ◄── unplugged
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import structlog

from terway.agent.pool_ports import ManagedENI
from terway.datapath.diff import diff
from terway.datapath.facts import ENILink, NodeFacts
from terway.datapath.host import EVERYWHERE, desired_eni
from terway.datapath.ipvlan import plan_host_children
from terway.datapath.names import table_of
from terway.datapath.verify import verify_objects
from terway.linux.kernel import Kernel
from terway.model.address import Family, IPPair, family_of
from terway.model.eni import VSwitch
from terway.model.errors import TransientError, VpcError
from terway.model.ids import MacAddress
from terway.model.network import NODE, Link, NetObject, NodeState, Route, Sysctl

_log = structlog.get_logger("enis")


class ENILinks:
    """The links of the pool's ENIs. `managed` lists the ENIs that the pool has now."""

    def __init__(
        self, kernel: Kernel, node: NodeFacts, managed: Callable[[], Iterable[ManagedENI]]
    ) -> None:
        self._kernel = kernel
        self._node = node
        self._managed = managed
        self._ready: dict[MacAddress, ENILink] = {}
        self._locks: defaultdict[MacAddress, asyncio.Lock] = defaultdict(asyncio.Lock)

    def set_mtu(self, mtu_bytes: int) -> None:
        """Configure links that come from now on with another MTU."""
        self._node = replace(self._node, mtu_bytes=mtu_bytes)

    @property
    def ready(self) -> tuple[ENILink, ...]:
        """Return the links that are configured and still there."""
        return self._ready_links()

    def _ready_links(self) -> tuple[ENILink, ...]:
        return tuple(eni for eni in self._ready.values() if self._is_there(eni))

    async def wait_eni_ready(self, mac: MacAddress) -> None:
        """Return when the link with `mac` is there and configured; TransientError if not."""
        await self.link_of(mac)

    async def link_of(self, mac: MacAddress) -> ENILink:
        """Return the link with `mac`, configured. Costs nothing once it is."""
        known = self.known(mac)
        if known is not None:
            return known
        link = await self._kernel.link_by_mac(mac)  # all who wait for it wait side by side
        async with self._locks[mac]:
            return self.known(mac) or await self._take(link)

    def known(self, mac: MacAddress) -> ENILink | None:
        """Return the link with `mac` if it was configured and is there, without waiting for it.

        One that was unplugged and plugged again has another number, so it is another link.
        """
        eni = self._ready.get(mac)
        return eni if eni is not None and self._is_there(eni) else None

    async def refresh(self, macs: Iterable[MacAddress]) -> dict[MacAddress, VpcError]:
        """Forget links that are gone, configure those of `macs` that came.

        Return why the others are not ready. Nothing is waited for.
        """
        for eni in tuple(self._ready.values()):
            if not self._is_there(eni):
                del self._ready[eni.mac]
                _log.info("enis.link_gone", eni_mac=eni.mac, link=eni.name, ifindex=eni.ifindex)
        wanted = [mac for mac in macs if mac not in self._ready]
        failures = await asyncio.gather(*map(self._take_now, wanted))
        return {mac: error for mac, error in zip(wanted, failures, strict=True) if error}

    async def _take_now(self, mac: MacAddress) -> VpcError | None:
        try:
            link = await self._kernel.find_link(mac)
            if link is None:
                return TransientError(f"no link has MAC {mac}", code="ENODEV")
            await self.link_of(mac)
        except VpcError as error:
            return error
        return None

    async def _take(self, link: Link) -> ENILink:
        eni = await self._configure(link)
        if not self._is_there(eni):
            text = f"link {eni.name} of ENI {eni.mac} went while it was being configured"
            raise TransientError(text, code="ENODEV")
        self._ready[eni.mac] = eni
        _log.info("enis.link_ready", eni_mac=eni.mac, link=eni.name, ifindex=eni.ifindex)
        return eni

    def _is_there(self, eni: ENILink) -> bool:
        return self._kernel.has_link(eni.name, eni.ifindex)

    async def _configure(self, link: Link) -> ENILink:
        assert link.mac is not None  # it was found by it
        before = await self._kernel.read_node()
        gateways = self._gateways(link.mac) or gateways_in_kernel(link, before)
        if gateways is None:
            text = f"ENI {link.mac} ({link.name}): its vSwitch has not been described by the cloud"
            raise TransientError(text, code="NoVSwitch")
        eni = ENILink(name=link.name, ifindex=link.ifindex, mac=link.mac, gateways=gateways)
        await self._make_as(eni, desired_eni(eni, self._node))
        return eni

    async def _make_as(self, eni: ENILink, wanted: tuple[NetObject, ...]) -> None:
        settings = tuple(one for one in wanted if isinstance(one, Sysctl))
        await self._kernel.apply(plan_host_children((eni,), await self._kernel.links(), self._node))
        actual = await self._kernel.read_node(settings)
        changes = diff(wanted, actual.objects, netns=NODE, is_owned=lambda _: False)
        await self._kernel.apply(changes.puts)
        found = verify_objects(wanted, (await self._kernel.read_node(settings)).objects)
        if found:
            text = "; ".join(map(str, found))
            raise TransientError(f"the ENI did not become as planned: {text}", code="Unverified")

    def _gateways(self, mac: MacAddress) -> IPPair | None:
        for eni in self._managed():
            if eni.mac == mac and eni.vswitch is not None:
                return gateways_of(eni.vswitch)
        return None


def gateways_of(vswitch: VSwitch) -> IPPair:
    """Return the VPC router's addresses in `vswitch`: the third from the end of each range."""
    return IPPair(
        v4=vswitch.cidr[-3], v6=None if vswitch.ipv6_cidr is None else vswitch.ipv6_cidr[-3]
    )


def gateways_in_kernel(link: Link, node: NodeState) -> IPPair | None:
    """Return the gateways that the link's table has from an earlier terwayd, None without.

    So that a restart while the cloud cannot be reached serves the pods that are there.
    """
    table = table_of(link.ifindex)
    found = {
        family_of(one.destination): one.gateway
        for one in node.objects
        if isinstance(one, Route)
        and one.table == table
        and one.link == link.name
        and one.destination == EVERYWHERE[family_of(one.destination)]
    }
    v4, v6 = found.get(Family.V4), found.get(Family.V6)
    if not isinstance(v4, IPv4Address):
        return None
    return IPPair(v4=v4, v6=v6 if isinstance(v6, IPv6Address) else None)
