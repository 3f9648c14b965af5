"""How are the cloud's calls made? Each in its turn by the one budget of the control plane."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from terway.controlplane.budget import Turns
from terway.controlplane.podenis.ports import CloudPort, Tags
from terway.model.eni import ENI, VSwitch
from terway.model.errors import ThrottledError
from terway.model.ids import ClientToken, ENIId, SecurityGroupId, VSwitchId
from terway.model.pod_network import PodNetwork
from terway.podeni.record import Target

T = TypeVar("T")
_EVERYBODY = "pod ENIs"
_DESCRIPTION = "interface create by terway"  # upstream's words


class Calls:
    """The cloud, called in turn. `clock` is seconds since the epoch: who waits now goes first."""

    def __init__(self, cloud: CloudPort, budget: Turns, *, clock: Callable[[], float]) -> None:
        self._cloud = cloud
        self._budget = budget
        self._clock = clock

    async def create(
        self,
        network: PodNetwork,
        vswitch_id: VSwitchId,
        *,
        has_ipv6: bool,
        tags: Tags,
        token: ClientToken,
    ) -> ENI:
        """Create the ENI of a network. One that is Fixed outlives the instance it is attached to.

        Its primary address is its IPv4 address, so there is one in any case.
        """
        call = partial(
            self._cloud.create_eni,
            vswitch_id=vswitch_id,
            security_group_ids=network.security_group_ids,
            ipv4_count=1,
            ipv6_count=1 if has_ipv6 else 0,
            is_erdma=network.is_erdma,
            tags=tags,
            description=_DESCRIPTION,
            resource_group_id=network.resource_group_id,
            delete_on_release=not network.lifetime.is_fixed,
            token=token,
        )
        return await self._in_turn("CreateNetworkInterface", token, call, is_urgent=True)

    async def attach(self, eni_id: ENIId, target: Target) -> None:
        """Begin to attach an ENI."""
        call = partial(
            self._cloud.attach_eni, eni_id, target.instance_id, trunk_id=target.trunk_eni_id
        )
        await self._in_turn("AttachNetworkInterface", eni_id, call, is_urgent=True)

    async def detach(self, eni_id: ENIId, target: Target) -> None:
        """Begin to detach an ENI: the next pod of the name may wait for it."""
        call = partial(
            self._cloud.detach_eni, eni_id, target.instance_id, trunk_id=target.trunk_eni_id
        )
        await self._in_turn("DetachNetworkInterface", eni_id, call, is_urgent=True)

    async def delete(self, eni_id: ENIId) -> None:
        """Begin to delete an ENI."""
        await self._in_turn(
            "DeleteNetworkInterface", eni_id, partial(self._cloud.delete_eni, eni_id)
        )

    async def describe(self, eni_ids: Sequence[ENIId]) -> tuple[ENI, ...]:
        """Return those of up to 100 ENIs that exist."""
        call = partial(self._cloud.describe_enis, eni_ids=eni_ids)
        return await self._in_turn("DescribeNetworkInterfaces", _EVERYBODY, call)

    async def list_tagged(self, tags: Tags) -> tuple[ENI, ...]:
        """Return all ENIs with these tags."""
        call = partial(self._cloud.describe_enis, tags=tags)
        return await self._in_turn("DescribeNetworkInterfaces", _EVERYBODY, call)

    async def vswitches(self, ids: Iterable[VSwitchId]) -> tuple[VSwitch, ...]:
        """Return the vSwitches of `ids` that exist; one call each."""
        found: list[VSwitch] = []
        for vswitch_id in ids:
            call = partial(self._cloud.describe_vswitches, (vswitch_id,))
            found += await self._in_turn("DescribeVSwitches", _EVERYBODY, call)
        return tuple(found)

    async def security_groups(self, ids: Sequence[SecurityGroupId]) -> frozenset[SecurityGroupId]:
        """Return those of `ids`, of one network, that exist."""
        call = partial(self._cloud.existing_security_groups, ids)
        return await self._in_turn("DescribeSecurityGroups", _EVERYBODY, call)

    async def _in_turn(
        self, action: str, who: str, call: Callable[[], Awaitable[T]], *, is_urgent: bool = False
    ) -> T:
        """Make `call` when it is `who`'s turn."""
        newest = self._clock() if is_urgent else 0.0
        await self._budget.take(action, who=who, newest=newest)
        try:
            answer = await call()
        except ThrottledError as error:
            self._budget.throttled(action, error.retry_after_s)
            raise
        self._budget.answered(action)
        return answer
