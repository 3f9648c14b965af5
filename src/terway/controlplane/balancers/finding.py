"""What is there of an instance that a Service wants? Read of the cloud, as `Observed`."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address

from terway.cloud.nlb import NlbClient
from terway.cloud.slb import SlbClient
from terway.cloud.source_groups import SourceGroupClient
from terway.loadbalancer.values import Observed
from terway.loadbalancer.wanted import CLUSTER_TAG, OWNER_TAG, Wanted
from terway.model.balancer import (
    BalancerInstance,
    BalancerProduct,
    HealthStatus,
    Listener,
    LoadBalancerId,
    ServerGroup,
    SourceGroup,
    Tags,
)
from terway.model.ids import VpcId

Health = Mapping[tuple[str, IPv4Address | IPv6Address, int], HealthStatus]


class Finder:
    """Reads both products."""

    def __init__(self, slb: SlbClient, nlb: NlbClient, sources: SourceGroupClient) -> None:
        self._slb = slb
        self._nlb = nlb
        self._sources = sources
        # Whose have no security group and want none: most Services, which are not asked about.
        self._without_sources: set[str] = set()

    async def find(self, wanted: Wanted, vpc_id: VpcId) -> Observed:
        """Return what is there, by the id that is named, or by our tags."""
        if wanted.product is BalancerProduct.NLB:
            return await self._find_nlb(wanted, vpc_id)
        return await self._find_clb(wanted)

    async def _find_clb(self, wanted: Wanted) -> Observed:
        instance = await self._instance(self._slb, wanted)
        listeners = await self._slb.list_listeners(instance.id) if instance else ()
        # In each round: one that no listener has any more would never be found otherwise.
        lists = await self._slb.list_access(name=wanted.acl_name)
        own = next((one for one in lists if one.name == wanted.acl_name), None)
        if instance is None:
            return Observed(access_list=own)
        groups = await self._slb.list_groups(instance.id)
        return Observed(instance=instance, listeners=listeners, groups=groups, access_list=own)

    async def _find_nlb(self, wanted: Wanted, vpc_id: VpcId) -> Observed:
        instance = await self._instance(self._nlb, wanted)
        groups = await self._nlb.list_groups(tags=owner_tags(wanted))
        sources = await self._find_sources(wanted, vpc_id)
        listeners = await self._nlb.list_listeners(instance.id) if instance else ()
        return Observed(instance=instance, listeners=listeners, groups=groups, source_group=sources)

    async def _find_sources(self, wanted: Wanted, vpc_id: VpcId) -> SourceGroup | None:
        is_leaving = not wanted.listeners
        if wanted.sources or is_leaving:
            self._without_sources.discard(wanted.owner)
        elif wanted.owner in self._without_sources:
            return None
        found = await self._sources.find(vpc_id, owner_tags(wanted))
        if found is None and not wanted.sources and not is_leaving:
            self._without_sources.add(wanted.owner)
        return found

    async def _instance(
        self, client: SlbClient | NlbClient, wanted: Wanted
    ) -> BalancerInstance | None:
        if wanted.balancer_id:
            return await client.describe_instance(LoadBalancerId(wanted.balancer_id))
        return next(iter(await client.list_instances(tags=owner_tags(wanted))), None)

    async def health(self, wanted: Wanted, observed: Observed) -> Health:
        """Return what the instance says of each backend of each listener that is wanted."""
        found: dict[tuple[str, IPv4Address | IPv6Address, int], HealthStatus] = {}
        ports = {(one.protocol, one.port): one.group_name for one in wanted.listeners}
        groups = {one.name: one for one in observed.groups}
        for listener in observed.listeners:
            name = ports.get((listener.wish.protocol, listener.wish.port))
            if name is not None and name in groups:
                found |= await self._health_of(wanted.product, listener, groups[name])
        return found

    async def _health_of(
        self, product: BalancerProduct, listener: Listener, group: ServerGroup
    ) -> Health:
        wish = listener.wish
        if product is BalancerProduct.CLB:
            said = await self._slb.health(listener.balancer_id, wish.protocol, wish.port)
            default = HealthStatus.UNKNOWN
        else:
            said = await self._nlb.not_healthy(listener.id)
            default = HealthStatus.HEALTHY
        heard = {(one.address, one.port): one.status for one in said}
        return {
            (group.name, one.address, one.port): heard.get((one.address, one.port), default)
            for one in group.backends
            if one.address is not None
        }


def owner_tags(wanted: Wanted) -> Tags:
    """Return the tags by which what is ours is found."""
    return tuple(one for one in wanted.instance.tags if one[0] in (OWNER_TAG, CLUSTER_TAG))
