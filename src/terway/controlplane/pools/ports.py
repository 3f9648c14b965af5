"""What do the pools need of the outside? The edges, and in-memory ones of tests, happen to fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from terway.kube.resource import ObjectKey
from terway.model.eni import ENI, InstanceLimits, VSwitch
from terway.model.ids import ENIId, VpcId, VSwitchId
from terway.pooling.ports import CloudPort

Wake = Callable[[ObjectKey], None]


class FleetPort(CloudPort, Protocol):
    """The calls of `terway.cloud.ecs.EcsClient` that pools of many nodes make."""

    async def page_of_enis(
        self, *, vpc_id: VpcId | None, token: str
    ) -> tuple[tuple[ENI, ...], str]:
        """Return up to 500 ENIs, and the token of the next page; empty after the last."""
        ...

    async def describe_instance_types(self, types: Sequence[str]) -> tuple[InstanceLimits, ...]:
        """Return the limits of `types` that the cloud knows."""
        ...


class VSwitchRead(Protocol):
    """Whoever hears of each reading of a vSwitch."""

    def __call__(self, vswitch: VSwitch, *, asked_at: float) -> None:
        """Hear what the cloud said, asked at `asked_at` (monotonic seconds)."""
        ...


class Readings(Protocol):
    """Readings of the cloud, shared between nodes."""

    on_vswitch: VSwitchRead

    async def enis_of(self, instance_id: str) -> tuple[tuple[ENI, ...], tuple[ENI, ...]]:
        """Return the ENIs that an instance has, and those made for it that nobody has."""
        ...

    async def attached(self, eni_id: ENIId, *, who: str) -> None:
        """Return when an ENI is in use; TransientError when it does not become so."""
        ...

    async def vswitches(self, ids: Iterable[VSwitchId]) -> tuple[VSwitch, ...]:
        """Return the vSwitches of `ids` that exist."""
        ...
