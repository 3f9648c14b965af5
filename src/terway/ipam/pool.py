"""The pool of one node, as a value: what it holds, and copies of it with something changed.

Decisions are elsewhere: `step` says who makes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from terway.ipam.budget import Budget
from terway.ipam.settings import PoolConfig
from terway.ipam.values import (
    AssignIntent,
    Attempt,
    CreateIntent,
    Hold,
    Intent,
    PoolENI,
    Prefix,
    Slot,
    VSwitchState,
)
from terway.model.address import IPAddress, IPNetwork
from terway.model.attachment import AttachmentKey
from terway.model.ids import ClientToken, ENIId, VSwitchId
from terway.model.interface import Placement

NEVER = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """When the cloud is to be read again; `detached_due_at` is for the dearer, fuller reading."""

    due_at: float = 0.0
    detached_due_at: float = 0.0
    failures: int = 0
    is_running: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """All addresses and ENIs of one node, who waits for one, and what was asked of the cloud.

    Mappings keep the order in which things came and are never changed in place.
    """

    config: PoolConfig
    budget: Budget
    slots: Mapping[IPAddress, Slot] = field(default_factory=dict)
    prefixes: Mapping[IPNetwork, Prefix] = field(default_factory=dict)
    enis: Mapping[ENIId, PoolENI] = field(default_factory=dict)
    intents: Mapping[ClientToken, Intent] = field(default_factory=dict)
    waiting: Mapping[AttachmentKey, Placement] = field(default_factory=dict)  # in order of coming
    vswitches: Mapping[VSwitchId, VSwitchState] = field(default_factory=dict)
    vswitch_watch: Attempt = field(default_factory=Attempt)
    vswitches_read: bool = False
    vswitches_asked: Mapping[VSwitchId, float] = field(default_factory=dict)  # when last
    watch: Watch = field(default_factory=Watch)
    is_observed: bool = False  # the ENIs of the instance have been read at least once
    foreign_enis: int = 0  # attached, not primary, and not ours to touch
    create_hold: Hold | None = None
    grow_at: float | None = None  # demand is collected until then
    grown_from: tuple[object, ...] = ()  # what there was when demand could not be covered
    surplus_since: float | None = None
    flush_after: float = 0.0
    flush_held: bool = False  # the last flush failed: until then not even for those who wait
    touched_at: float = 0.0  # when an address was last wanted or given back
    reclaim_at: float | None = None  # when an untouched pool shrinks next
    is_warm: bool = False  # the warm-up has been reached once
    tokens_made: int = 0
    # Of a supplier: who is expected, by wish; what is held elsewhere, true: by a pod, false: it
    # rests; how often something was recalled, or a recall was taken back.
    expected: Mapping[Placement, int] = field(default_factory=dict)
    held: Mapping[IPAddress, bool] = field(default_factory=dict)
    recalls: int = 0
    # Of one who is supplied: what is wanted back, and why no more will come.
    recalled: frozenset[IPAddress | IPNetwork] = frozenset()
    no_supply: str = ""

    @classmethod
    def empty(cls, config: PoolConfig, *, now: float) -> Self:
        """Return a pool that knows nothing yet and is due to look."""
        budget = Budget.full(
            rate=config.calls_per_s,
            burst=config.call_burst,
            per_minute=dict(config.rate_limits),
            now=now,
        )
        return cls(config=config, budget=budget, touched_at=now)

    def held_by(self, owner: AttachmentKey) -> tuple[Slot, ...]:
        """Return what is bound to `owner`."""
        return tuple(slot for slot in self.slots.values() if slot.owner == owner)

    @property
    def eni_limit(self) -> int:
        """Return how many ENIs may be the pool's: what is others' keeps its slots."""
        left = self.config.eni_slots - self.foreign_enis - self.config.pod_enis
        return min(self.config.max_enis, left)

    def slots_of(self, eni_id: ENIId) -> tuple[Slot, ...]:
        """Return the addresses of an ENI."""
        return tuple(slot for slot in self.slots.values() if slot.eni_id == eni_id)

    def prefixes_of(self, eni_id: ENIId) -> tuple[Prefix, ...]:
        """Return the prefixes of an ENI."""
        return tuple(one for one in self.prefixes.values() if one.eni_id == eni_id)

    def assigns_of(self, eni_id: ENIId) -> tuple[AssignIntent, ...]:
        """Return the assignments to an ENI that are not answered yet."""
        found = (i for i in self.intents.values() if isinstance(i, AssignIntent))
        return tuple(intent for intent in found if intent.eni_id == eni_id)

    @property
    def creates(self) -> tuple[CreateIntent, ...]:
        """Return the ENIs that are being created."""
        return tuple(i for i in self.intents.values() if isinstance(i, CreateIntent))

    def with_slots(self, slots: Iterable[Slot]) -> Pool:
        """Return the pool with these slots put in place of those with their addresses."""
        return replace(self, slots={**self.slots, **{slot.address: slot for slot in slots}})

    def without_slots(self, addresses: Iterable[IPAddress]) -> Pool:
        """Return the pool without these addresses."""
        gone = set(addresses)
        left = {address: slot for address, slot in self.slots.items() if address not in gone}
        return replace(self, slots=left)

    def with_prefixes(self, prefixes: Iterable[Prefix]) -> Pool:
        """Return the pool with these prefixes put in place of those with their ranges."""
        return replace(self, prefixes={**self.prefixes, **{one.network: one for one in prefixes}})

    def without_prefixes(self, networks: Iterable[IPNetwork]) -> Pool:
        """Return the pool without these prefixes; addresses of them stay."""
        gone = set(networks)
        left = {key: one for key, one in self.prefixes.items() if key not in gone}
        return replace(self, prefixes=left)

    def with_eni(self, eni: PoolENI) -> Pool:
        """Return the pool with `eni` put in place of the one with its id."""
        return replace(self, enis={**self.enis, eni.id: eni})

    def without_eni(self, eni_id: ENIId) -> Pool:
        """Return the pool without an ENI, its addresses, prefixes and assignments."""
        assigns = {intent.token for intent in self.assigns_of(eni_id)}
        return replace(
            self,
            enis={key: eni for key, eni in self.enis.items() if key != eni_id},
            slots={key: slot for key, slot in self.slots.items() if slot.eni_id != eni_id},
            prefixes={key: one for key, one in self.prefixes.items() if one.eni_id != eni_id},
            intents={key: one for key, one in self.intents.items() if key not in assigns},
        )

    def with_intent(self, intent: Intent) -> Pool:
        """Return the pool with `intent` put in place of the one with its token."""
        return replace(self, intents={**self.intents, intent.token: intent})

    def without_intent(self, token: ClientToken) -> Pool:
        """Return the pool without an intent."""
        return replace(self, intents={k: one for k, one in self.intents.items() if k != token})

    def with_vswitch(self, state: VSwitchState) -> Pool:
        """Return the pool with `state` put in place of what it knew of that vSwitch."""
        return replace(self, vswitches={**self.vswitches, state.vswitch.id: state})

    def observing_at(self, when: float) -> Pool:
        """Return the pool with the next reading of the cloud no later than `when`."""
        return replace(self, watch=replace(self.watch, due_at=min(self.watch.due_at, when)))

    def new_token(self) -> tuple[Pool, ClientToken]:
        """Return a client token that was never used, and the pool that remembers so."""
        token = ClientToken(f"{self.config.token_seed}-{self.tokens_made}")
        return replace(self, tokens_made=self.tokens_made + 1), token
