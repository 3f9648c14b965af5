"""Which calls does load balancing make to NLB, and what do they promise?

Most changes are jobs: the call returns while the cloud works on them, and another change of the
same thing raises TransientError (IncorrectStatus) until `is_done` says yes. Every method raises
ThrottledError, TransientError, CapacityError and UsageError as `terway.cloud.errors` explains;
docstrings name the others. Deleting what is gone is success. Source: OpenAPI NLB 2022-04-30.
"""

from __future__ import annotations

from collections.abc import Sequence

from terway.cloud import nlb_wire as answers
from terway.cloud.ecs_calls import tag_list
from terway.cloud.nlb_groups import NlbGroupCalls
from terway.cloud.openapi import Caller, Product
from terway.cloud.query import Value
from terway.cloud.wire import Done
from terway.model.balancer import (
    BackendHealth,
    BalancerInstance,
    InstanceWish,
    JobId,
    Listener,
    ListenerId,
    ListenerWish,
    LoadBalancerId,
    ServerGroupId,
    Tags,
)
from terway.model.ids import ClientToken, RegionId, SecurityGroupId

NLB_VERSION = "2022-04-30"
PAGE_SIZE = 100


class NlbClient(NlbGroupCalls):
    """The client of NLB, for one region."""

    def __init__(self, openapi: Caller, *, region_id: RegionId, nlb_endpoint: str) -> None:
        product = Product(endpoint=nlb_endpoint, version=NLB_VERSION)
        super().__init__(openapi, product, region_id)

    async def is_done(self, job_id: JobId) -> bool:
        """Return whether a job is finished. Raises UsageError when it failed."""
        said = await self._openapi.call(
            self._product, "GetJobStatus", {"JobId": job_id}, answers.JobStatus
        )
        return said.status == "Succeeded"

    async def list_instances(
        self, *, ids: Sequence[LoadBalancerId] = (), name: str = "", tags: Tags = ()
    ) -> tuple[BalancerInstance, ...]:
        """Return the instances that match every given filter, from all pages."""
        parameters: dict[str, Value] = {
            "LoadBalancerIds": tuple(ids),
            "LoadBalancerNames": (name,) if name else (),
            "Tag": tag_list(tags),
            "MaxResults": PAGE_SIZE,
        }
        pages = await self.list_pages("ListLoadBalancers", parameters, answers.Nlbs)
        return tuple(answers.parse_nlb(one) for page in pages for one in page.load_balancers)

    async def describe_instance(self, balancer_id: LoadBalancerId) -> BalancerInstance | None:
        """Return an instance, None when there is none with that id."""
        return next(iter(await self.list_instances(ids=(balancer_id,))), None)

    async def create_instance(self, wish: InstanceWish, *, token: ClientToken) -> LoadBalancerId:
        """Begin to make an instance: it is ready later. Safe to repeat with the same `token`."""
        guard = "ConsoleProtection" if wish.is_protected_from_console else "NonProtection"
        parameters: dict[str, Value] = {
            "LoadBalancerName": wish.name,
            "AddressType": "Internet" if wish.is_internet else "Intranet",
            "AddressIpVersion": wish.ip_version,
            "VpcId": wish.vpc_id,
            "ZoneMappings": tuple(
                {"ZoneId": zone_id, "VSwitchId": vswitch_id} for zone_id, vswitch_id in wish.zones
            ),
            "DeletionProtectionConfig": {"Enabled": wish.is_protected_from_deletion},
            "ModificationProtectionConfig": {"Status": guard},
            "ResourceGroupId": wish.resource_group_id or None,
            "Tag": tag_list(wish.tags),
            "ClientToken": token,
        }
        answer = await self.call("CreateLoadBalancer", parameters, answers.NewNlb)
        return LoadBalancerId(answer.loadbalancer_id)

    async def delete_instance(self, balancer_id: LoadBalancerId) -> None:
        """Begin to delete an instance with its listeners.

        UsageError with the code OperationDenied.DeletionProtectionEnabled when it is protected.
        """
        await self.call_until_gone("DeleteLoadBalancer", {"LoadBalancerId": balancer_id})

    async def protect(
        self, balancer_id: LoadBalancerId, *, from_deletion: bool, from_console: bool
    ) -> None:
        """Set both protections. Safe to repeat."""
        parameters: dict[str, Value] = {
            "LoadBalancerId": balancer_id,
            "DeletionProtectionEnabled": from_deletion,
            "ModificationProtectionStatus": (
                "ConsoleProtection" if from_console else "NonProtection"
            ),
        }
        await self.call("UpdateLoadBalancerProtection", parameters, Done)

    async def rename(self, balancer_id: LoadBalancerId, name: str) -> JobId:
        """Begin to give an instance another name."""
        parameters: dict[str, Value] = {"LoadBalancerId": balancer_id, "LoadBalancerName": name}
        said = await self.call("UpdateLoadBalancerAttribute", parameters, answers.Job)
        return JobId(said.job_id)

    async def join_groups(
        self, balancer_id: LoadBalancerId, group_ids: Sequence[SecurityGroupId]
    ) -> JobId:
        """Begin to have an instance join security groups of its VPC; it can be in four."""
        return await self._change_groups("LoadBalancerJoinSecurityGroup", balancer_id, group_ids)

    async def leave_groups(
        self, balancer_id: LoadBalancerId, group_ids: Sequence[SecurityGroupId]
    ) -> JobId:
        """Begin to have an instance leave security groups."""
        return await self._change_groups("LoadBalancerLeaveSecurityGroup", balancer_id, group_ids)

    async def _change_groups(
        self, action: str, balancer_id: LoadBalancerId, group_ids: Sequence[SecurityGroupId]
    ) -> JobId:
        parameters: dict[str, Value] = {
            "LoadBalancerId": balancer_id,
            "SecurityGroupIds": tuple(group_ids),
        }
        return JobId((await self.call(action, parameters, answers.Job)).job_id)

    async def tag(self, resource_type: str, resource_id: str, tags: Tags) -> None:
        """Add tags to a loadbalancer, servergroup or listener."""
        parameters: dict[str, Value] = {
            "ResourceType": resource_type,
            "ResourceId": (resource_id,),
            "Tag": tag_list(tags),
        }
        await self.call("TagResources", parameters, Done)

    async def untag(self, resource_type: str, resource_id: str, keys: Sequence[str]) -> None:
        """Remove tags from a loadbalancer, servergroup or listener."""
        parameters: dict[str, Value] = {
            "ResourceType": resource_type,
            "ResourceId": (resource_id,),
            "TagKey": tuple(keys),
        }
        await self.call("UntagResources", parameters, Done)

    async def list_listeners(self, balancer_id: LoadBalancerId) -> tuple[Listener, ...]:
        """Return an instance's TCP and UDP listeners, from all pages."""
        parameters: dict[str, Value] = {
            "LoadBalancerIds": (balancer_id,),
            "MaxResults": PAGE_SIZE,
        }
        pages = await self.list_pages("ListListeners", parameters, answers.NlbListeners)
        parsed = (answers.parse_listener(one) for page in pages for one in page.listeners)
        return tuple(one for one in parsed if one is not None)

    async def create_listener(
        self, balancer_id: LoadBalancerId, wish: ListenerWish, *, token: ClientToken
    ) -> tuple[ListenerId, JobId]:
        """Begin to make a listener, which then runs. Safe to repeat with the same `token`.

        Raises ConflictError when there is one at the port.
        """
        parameters: dict[str, Value] = {
            "LoadBalancerId": balancer_id,
            "ListenerProtocol": wish.protocol.value,
            "ListenerPort": wish.port,
            "ServerGroupId": wish.group_id,
            "ListenerDescription": wish.description or None,
            "ClientToken": token,
        }
        said = await self.call("CreateListener", parameters, answers.Job)
        return ListenerId(said.listener_id), JobId(said.job_id)

    async def update_listener(
        self, listener_id: ListenerId, *, group_id: ServerGroupId, description: str
    ) -> JobId:
        """Begin to give a listener another group and description."""
        parameters: dict[str, Value] = {
            "ListenerId": listener_id,
            "ServerGroupId": group_id,
            "ListenerDescription": description,
        }
        said = await self.call("UpdateListenerAttribute", parameters, answers.Job)
        return JobId(said.job_id)

    async def start_listener(self, listener_id: ListenerId) -> JobId:
        """Begin to have a listener forward."""
        said = await self.call("StartListener", {"ListenerId": listener_id}, answers.Job)
        return JobId(said.job_id)

    async def delete_listener(self, listener_id: ListenerId) -> None:
        """Begin to delete a listener; success when it is gone."""
        await self.call_until_gone("DeleteListener", {"ListenerId": listener_id})

    async def not_healthy(self, listener_id: ListenerId) -> tuple[BackendHealth, ...]:
        """Return the servers behind a listener that are not healthy: NLB does not name the others.

        Servers that are not listed are healthy, or their health is not checked.
        """
        parameters: dict[str, Value] = {"ListenerId": listener_id}
        said = await self.call("GetListenerHealthStatus", parameters, answers.Health)
        return tuple(
            answers.parse_not_healthy(server)
            for listener in said.listener_health_status
            for group in listener.server_group_infos
            for server in group.non_normal_servers
        )
