"""An ENI's link: found by its MAC, configured once, remembered until it changes.

ENI attached ──udev, hot-plug──► link with the MAC ──configure──► ready to carry pods
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address

from terway.agent.pool_ports import ManagedENI
from terway.datapath.diff import diff
from terway.datapath.facts import ENILink, NodeFacts
from terway.datapath.host import EVERYWHERE, desired_eni
from terway.datapath.names import table_of
from terway.datapath.verify import verify_objects
from terway.linux.kernel import Kernel
from terway.model.address import Family, IPPair, family_of
from terway.model.eni import VSwitch
from terway.model.errors import TransientError
from terway.model.ids import MacAddress
from terway.model.network import NODE, Link, NetObject, NodeState, Route, Sysctl


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

    @property
    def ready(self) -> tuple[ENILink, ...]:
        """Return the links that are configured."""
        return tuple(self._ready.values())

    async def wait_eni_ready(self, mac: MacAddress) -> None:
        """Return when the link with `mac` is there and configured; TransientError if not."""
        await self.link_of(mac)

    async def link_of(self, mac: MacAddress) -> ENILink:
        """Return the link with `mac`, configured. Costs nothing once it is."""
        known = self._ready.get(mac)
        if known is not None:
            return known
        async with self._locks[mac]:
            if mac not in self._ready:
                self._ready[mac] = await self._configure(await self._kernel.link_by_mac(mac))
            return self._ready[mac]

    def known(self, mac: MacAddress) -> ENILink | None:
        """Return the link with `mac` if it was configured before, without waiting for it."""
        return self._ready.get(mac)

    def forget_changed(self, links: Iterable[Link]) -> None:
        """Forget links that are no longer as remembered: unplugged, renamed, plugged again."""
        there = {(link.name, link.ifindex, link.mac) for link in links}
        for mac, eni in tuple(self._ready.items()):
            if (eni.name, eni.ifindex, mac) not in there:
                del self._ready[mac]

    async def _configure(self, link: Link) -> ENILink:
        assert link.mac is not None  # it was found by it
        before = await self._kernel.read_node()
        gateways = self._gateways(link.mac) or gateways_in_kernel(link, before)
        if gateways is None:
            text = f"ENI {link.mac} ({link.name}): its vSwitch has not been described by the cloud"
            raise TransientError(text, code="NoVSwitch")
        eni = ENILink(name=link.name, ifindex=link.ifindex, mac=link.mac, gateways=gateways)
        await self._make_as(desired_eni(eni, self._node))
        return eni

    async def _make_as(self, wanted: tuple[NetObject, ...]) -> None:
        settings = tuple(one for one in wanted if isinstance(one, Sysctl))
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
