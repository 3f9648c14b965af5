"""Which calls keep CLB's groups of backends?

Source: OpenAPI SLB 2014-05-15; BackendServers is a JSON list in one parameter.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from terway.cloud import clb_wire as answers
from terway.cloud.balancer_calls import BalancerCalls, in_batches
from terway.cloud.ecs_calls import tag_list
from terway.cloud.query import Value
from terway.cloud.wire import Done
from terway.model.balancer import Backend, LoadBalancerId, ServerGroup, ServerGroupId, Tags

BACKENDS_PER_CALL = 20


class SlbGroupCalls(BalancerCalls):
    """Groups, and the backends in them."""

    async def list_groups(self, balancer_id: LoadBalancerId) -> tuple[ServerGroup, ...]:
        """Return the groups of an instance with their backends: one call, and one each."""
        parameters: dict[str, Value] = {"LoadBalancerId": balancer_id}
        listed = await self.call("DescribeVServerGroups", parameters, answers.VServerGroups)
        groups = listed.v_server_groups.v_server_group
        return tuple([await self._group(one.v_server_group_id) for one in groups])

    async def _group(self, group_id: str) -> ServerGroup:
        parameters: dict[str, Value] = {"VServerGroupId": group_id}
        said = await self.call("DescribeVServerGroupAttribute", parameters, answers.VServerGroup)
        return answers.parse_vserver_group(said)

    async def create_group(
        self, balancer_id: LoadBalancerId, *, name: str, tags: Tags = ()
    ) -> ServerGroupId:
        """Make an empty group. Not safe to repeat: list, and find it by name."""
        parameters: dict[str, Value] = {
            "LoadBalancerId": balancer_id,
            "VServerGroupName": name,
            "Tag": tag_list(tags),
        }
        answer = await self.call("CreateVServerGroup", parameters, answers.VServerGroup)
        return ServerGroupId(answer.v_server_group_id)

    async def delete_group(self, group_id: ServerGroupId) -> None:
        """Delete a group. Raises ConflictError while a listener uses it."""
        await self.call_until_gone("DeleteVServerGroup", {"VServerGroupId": group_id})

    async def add_backends(self, group_id: ServerGroupId, backends: Sequence[Backend]) -> None:
        """Add backends, 20 a call; one that is there gets the new weight. Safe to repeat."""
        await self._change_backends("AddVServerGroupBackendServers", group_id, backends)

    async def remove_backends(self, group_id: ServerGroupId, backends: Sequence[Backend]) -> None:
        """Remove backends, 20 a call. Safe to repeat."""
        await self._change_backends("RemoveVServerGroupBackendServers", group_id, backends)

    async def update_backends(self, group_id: ServerGroupId, backends: Sequence[Backend]) -> None:
        """Set weights and descriptions of backends that are there, 20 a call. Safe to repeat."""
        await self._change_backends("SetVServerGroupAttribute", group_id, backends)

    async def _change_backends(
        self, action: str, group_id: ServerGroupId, backends: Sequence[Backend]
    ) -> None:
        for batch in in_batches(backends, BACKENDS_PER_CALL):
            text = msgspec.json.encode([_backend(one) for one in batch]).decode()
            parameters: dict[str, Value] = {"VServerGroupId": group_id, "BackendServers": text}
            await self.call(action, parameters, Done)


def _backend(one: Backend) -> dict[str, str | int]:
    said: dict[str, str | int] = {
        "ServerId": one.eni_id or one.instance_id or "",
        "Type": "eni" if one.eni_id else "ecs",
        "Port": one.port,
        "Weight": one.weight,
        "Description": one.description,
    }
    return {**said, "ServerIp": str(one.address)} if one.eni_id and one.address else said
