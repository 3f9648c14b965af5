"""What does the pool's loop need of the outside, and what does it show of itself?

The ports are named here, beside the loop that needs them; the edges happen to fit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import Protocol

from terway.ipam.values import ENIPhase
from terway.model.address import IPAddress
from terway.model.eni import VSwitch
from terway.model.ids import ENIId, MacAddress, VSwitchId
from terway.store.records import Batch, Journal


class StorePort(Protocol):
    """The journal. `terway.store` has the real one and a fake."""

    def write(self, batch: Batch) -> Awaitable[None]:
        """Queue `batch` at once, behind all earlier ones; done when it is on the disk."""
        ...

    async def load(self) -> Journal:
        """Return everything that the journal holds."""
        ...


class LinkPort(Protocol):
    """The agent's half of an ENI's life: its link in the kernel."""

    async def wait_eni_ready(self, mac: MacAddress) -> None:
        """Return when the link with `mac` is there and configured; raise TransientError if not.

        `PoolService.enis()` already lists the ENI, so that its vSwitch can be looked up.
        """
        ...


class ConntrackPort(Protocol):
    """The kernel's connection tracking."""

    async def delete_entries(self, addresses: Iterable[IPAddress]) -> None:
        """Delete every entry in which one of `addresses` is an end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedENI:
    """An ENI of the pool. `vswitch` is None until the cloud has described it."""

    id: ENIId
    mac: MacAddress
    phase: ENIPhase
    vswitch_id: VSwitchId
    vswitch: VSwitch | None
    is_gone: bool = False  # the cloud no longer knows it, although pods have addresses of it


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatus:
    """What the pool could do now, and what it holds. Addresses are counted, not pairs.

    `can_add` says whether an ADD would be answered or could at least wait with hope; `reason`
    says why not.
    """

    can_add: bool
    reason: str
    capacity: int  # pods at most, with the configured limits
    free: int
    bound: int
    cooling: int
    retiring: int
    coming: int  # asked of the cloud, not answered yet
    waiting: int  # ADDs that wait for an address
    missing: tuple[IPAddress, ...]  # bound here, but the cloud no longer shows them
    enis: dict[ENIPhase, int]
