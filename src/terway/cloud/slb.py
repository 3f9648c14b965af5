"""Which calls does load balancing make to CLB ("SLB"), and what do they promise?

Every method raises ThrottledError, TransientError, CapacityError and UsageError as
`terway.cloud.errors` explains; docstrings name the others. Deleting what is gone is success.
Source: OpenAPI SLB 2014-05-15.
"""

from __future__ import annotations

from collections.abc import Sequence

from terway.cloud import clb_wire as answers
from terway.cloud.ecs_calls import tag_list
from terway.cloud.openapi import Caller, Product
from terway.cloud.query import Value
from terway.cloud.slb_access import SlbAccessCalls
from terway.cloud.slb_groups import SlbGroupCalls
from terway.cloud.slb_listeners import SlbListenerCalls
from terway.cloud.wire import Done
from terway.model.balancer import BalancerInstance, InstanceWish, LoadBalancerId, Tags
from terway.model.ids import ClientToken, RegionId

SLB_VERSION = "2014-05-15"
PAGE_SIZE = 100


class SlbClient(SlbListenerCalls, SlbGroupCalls, SlbAccessCalls):
    """The client of CLB, for one region."""

    def __init__(self, openapi: Caller, *, region_id: RegionId, slb_endpoint: str) -> None:
        product = Product(endpoint=slb_endpoint, version=SLB_VERSION)
        super().__init__(openapi, product, region_id)

    async def list_instances(
        self,
        *,
        ids: Sequence[LoadBalancerId] = (),
        name: str = "",
        tags: Tags = (),
    ) -> tuple[BalancerInstance, ...]:
        """Return the instances that match every given filter, from all pages."""
        filters: dict[str, Value] = {
            "LoadBalancerId": ",".join(ids) or None,
            "LoadBalancerName": name or None,
            "Tag": tag_list(tags),
            "PageSize": PAGE_SIZE,
        }
        found: list[answers.Clb] = []
        page = answers.ClbPage(total_count=1)
        number = 1
        while len(found) < page.total_count:
            parameters = {**filters, "PageNumber": number}
            page = await self.call("DescribeLoadBalancers", parameters, answers.ClbPage)
            found += page.load_balancers.load_balancer
            number += 1
        return tuple(map(answers.parse_clb, found))

    async def describe_instance(self, balancer_id: LoadBalancerId) -> BalancerInstance | None:
        """Return an instance, None when there is none with that id."""
        return next(iter(await self.list_instances(ids=(balancer_id,))), None)

    async def create_instance(self, wish: InstanceWish, *, token: ClientToken) -> LoadBalancerId:
        """Make an instance, which works at once. Safe to repeat with the same `token`."""
        parameters: dict[str, Value] = {
            "LoadBalancerName": wish.name,
            "AddressType": "internet" if wish.is_internet else "intranet",
            "VpcId": None if wish.is_internet else wish.vpc_id,
            "VSwitchId": None if wish.is_internet or not wish.zones else wish.zones[0][1],
            "Address": wish.address or None,
            "AddressIPVersion": wish.ip_version,
            "LoadBalancerSpec": wish.spec or None,
            "InstanceChargeType": wish.charge_type or None,
            "InternetChargeType": wish.internet_charge_type or None,
            "Bandwidth": wish.bandwidth,
            "DeleteProtection": "on" if wish.is_protected_from_deletion else "off",
            "ModificationProtectionStatus": _console(wish.is_protected_from_console),
            "ResourceGroupId": wish.resource_group_id or None,
            "Tag": tag_list(wish.tags),
            "ClientToken": token,
        }
        answer = await self.call("CreateLoadBalancer", parameters, answers.NewClb)
        return LoadBalancerId(answer.load_balancer_id)

    async def delete_instance(self, balancer_id: LoadBalancerId) -> None:
        """Delete an instance with its listeners and groups.

        UsageError with the code OperationDenied.DeleteProtectionIsOn when it is protected.
        """
        await self.call_until_gone("DeleteLoadBalancer", {"LoadBalancerId": balancer_id})

    async def protect(
        self, balancer_id: LoadBalancerId, *, from_deletion: bool, from_console: bool
    ) -> None:
        """Set both protections; two calls. Safe to repeat."""
        named: dict[str, Value] = {"LoadBalancerId": balancer_id}
        deletion = {**named, "DeleteProtection": "on" if from_deletion else "off"}
        await self.call("SetLoadBalancerDeleteProtection", deletion, Done)
        console = {**named, "ModificationProtectionStatus": _console(from_console)}
        await self.call("SetLoadBalancerModificationProtection", console, Done)

    async def rename(self, balancer_id: LoadBalancerId, name: str) -> None:
        """Give an instance another name."""
        parameters: dict[str, Value] = {"LoadBalancerId": balancer_id, "LoadBalancerName": name}
        await self.call("SetLoadBalancerName", parameters, Done)

    async def set_spec(self, balancer_id: LoadBalancerId, spec: str) -> None:
        """Give an instance another specification."""
        parameters: dict[str, Value] = {"LoadBalancerId": balancer_id, "LoadBalancerSpec": spec}
        await self.call("ModifyLoadBalancerInstanceSpec", parameters, Done)

    async def tag(self, balancer_id: LoadBalancerId, tags: Tags) -> None:
        """Add tags to an instance; one with the same key is replaced."""
        parameters = {**_instance(balancer_id), "Tag": tag_list(tags)}
        await self.call("TagResources", parameters, Done)

    async def untag(self, balancer_id: LoadBalancerId, keys: Sequence[str]) -> None:
        """Remove tags from an instance."""
        await self.call("UntagResources", {**_instance(balancer_id), "TagKey": tuple(keys)}, Done)


def _console(is_protected: bool) -> str:
    return "ConsoleProtection" if is_protected else "NonProtection"


def _instance(balancer_id: LoadBalancerId) -> dict[str, Value]:
    return {"ResourceType": "instance", "ResourceId": (balancer_id,)}
