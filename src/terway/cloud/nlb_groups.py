"""Which calls keep NLB's server groups? Each change is a job. Source: OpenAPI NLB 2022-04-30."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from terway.cloud import nlb_wire as answers
from terway.cloud.balancer_calls import BalancerCalls
from terway.cloud.ecs_calls import tag_list
from terway.cloud.query import Value
from terway.model.balancer import (
    Backend,
    Forwarding,
    HealthCheck,
    JobId,
    ServerGroup,
    ServerGroupId,
    Tags,
)
from terway.model.ids import ClientToken, VpcId

PAGE_SIZE = 100
SERVERS_PER_CALL = 200


class NlbGroupCalls(BalancerCalls):
    """Server groups, and the servers in them."""

    async def list_groups(
        self, *, ids: Sequence[ServerGroupId] = (), name: str = "", tags: Tags = ()
    ) -> tuple[ServerGroup, ...]:
        """Return the groups that match every given filter, with their servers: pages, and more."""
        parameters: dict[str, Value] = {
            "ServerGroupIds": tuple(ids),
            "ServerGroupNames": (name,) if name else (),
            "Tag": tag_list(tags),
            "MaxResults": PAGE_SIZE,
        }
        pages = await self.list_pages("ListServerGroups", parameters, answers.Groups)
        found = [one for page in pages for one in page.server_groups]
        return tuple(
            [answers.parse_group(one, await self._servers(one.server_group_id)) for one in found]
        )

    async def _servers(self, group_id: str) -> tuple[answers.Server, ...]:
        parameters: dict[str, Value] = {"ServerGroupId": group_id, "MaxResults": PAGE_SIZE}
        pages = await self.list_pages("ListServerGroupServers", parameters, answers.Servers)
        return tuple(one for page in pages for one in page.servers)

    async def create_group(
        self,
        *,
        name: str,
        vpc_id: VpcId,
        protocol: str,
        of_addresses: bool,
        is_dual_stack: bool,
        forwarding: Forwarding,
        tags: Tags = (),
        resource_group_id: str = "",
        token: ClientToken,
    ) -> tuple[ServerGroupId, JobId]:
        """Begin to make an empty group. Safe to repeat with the same `token`.

        `protocol` is TCP, UDP or TCP_UDP. `of_addresses`: its servers are addresses, and neither
        ENIs nor instances.
        """
        parameters: dict[str, Value] = {
            "ServerGroupName": name,
            "VpcId": vpc_id,
            "Protocol": protocol,
            "ServerGroupType": "Ip" if of_addresses else "Instance",
            "AddressIPVersion": "DualStack" if is_dual_stack else "ipv4",
            "PreserveClientIpEnabled": True,
            **_forwarding(forwarding),
            "Tag": tag_list(tags),
            "ResourceGroupId": resource_group_id or None,
            "ClientToken": token,
        }
        said = await self.call("CreateServerGroup", parameters, answers.Job)
        return ServerGroupId(said.server_group_id), JobId(said.job_id)

    async def update_group(
        self, group_id: ServerGroupId, *, name: str, forwarding: Forwarding
    ) -> JobId:
        """Begin to change a group. Raises TransientError while a job of it runs."""
        parameters: dict[str, Value] = {
            "ServerGroupId": group_id,
            "ServerGroupName": name,
            **_forwarding(forwarding),
        }
        said = await self.call("UpdateServerGroupAttribute", parameters, answers.Job)
        return JobId(said.job_id)

    async def delete_group(self, group_id: ServerGroupId) -> None:
        """Begin to delete a group. Raises ConflictError while a listener uses it."""
        await self.call_until_gone("DeleteServerGroup", {"ServerGroupId": group_id})

    async def add_backends(self, group_id: ServerGroupId, backends: Sequence[Backend]) -> JobId:
        """Begin to add servers, 200 at most. Raises ConflictError when one is there already."""
        return await self._change("AddServersToServerGroup", group_id, map(_server, backends))

    async def remove_backends(self, group_id: ServerGroupId, backends: Sequence[Backend]) -> JobId:
        """Begin to remove servers, 200 at most. Raises ConflictError when one is not there."""
        named = (_name(one) for one in backends)
        return await self._change("RemoveServersFromServerGroup", group_id, named)

    async def update_backends(self, group_id: ServerGroupId, backends: Sequence[Backend]) -> JobId:
        """Begin to set weights and descriptions. Raises ConflictError when one is not there."""
        servers = map(_server, backends)
        return await self._change("UpdateServerGroupServersAttribute", group_id, servers)

    async def _change(
        self, action: str, group_id: ServerGroupId, servers: Iterable[Value]
    ) -> JobId:
        parameters: dict[str, Value] = {
            "ServerGroupId": group_id,
            "Servers": tuple(servers),
        }
        said = await self.call(action, parameters, answers.Job)
        return JobId(said.job_id)


def _name(one: Backend) -> dict[str, Value]:
    address = str(one.address) if one.address else None
    if one.eni_id:
        return {"ServerId": one.eni_id, "ServerType": "Eni", "ServerIp": address, "Port": one.port}
    if one.instance_id:
        return {"ServerId": one.instance_id, "ServerType": "Ecs", "Port": one.port}
    return {"ServerId": address, "ServerType": "Ip", "ServerIp": address, "Port": one.port}


def _server(one: Backend) -> dict[str, Value]:
    return {**_name(one), "Weight": one.weight, "Description": one.description}


def _forwarding(forwarding: Forwarding) -> dict[str, Value]:
    return {
        "Scheduler": forwarding.scheduler,
        "ConnectionDrainEnabled": forwarding.drain_s is not None,
        "ConnectionDrainTimeout": forwarding.drain_s,
        "HealthCheckConfig": _check(forwarding.check),
    }


def _check(check: HealthCheck) -> dict[str, Value]:
    return {
        "HealthCheckEnabled": check.is_on,
        "HealthCheckType": check.kind.value.upper(),
        "HealthCheckConnectPort": check.port,
        "HealthCheckConnectTimeout": check.timeout_s,
        "HealthCheckInterval": check.interval_s,
        "HealthyThreshold": check.healthy_after,
        "UnhealthyThreshold": check.unhealthy_after,
        "HealthCheckDomain": check.domain or None,
        "HealthCheckUrl": check.uri,
        "HttpCheckMethod": check.method.upper(),
        "HealthCheckHttpCode": check.http_codes,
    }
