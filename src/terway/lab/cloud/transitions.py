"""What happens later, on its own? Attaching becomes InUse, Deleting becomes nothing, and so on.

A transition is scheduled by the action that starts it and carried out by `settle` when its time
has come. Between the two the resource is in its intermediate state and refuses what that state
refuses. A transition whose resource is gone does nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import assert_never

from terway.lab.cloud.records import ENIRecord, InstanceStatus
from terway.lab.cloud.state import State
from terway.model.address import IPAddress
from terway.model.eni import ENIStatus, ENIType
from terway.model.ids import ENIId, InstanceId


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """How long the cloud takes, in seconds. The real one: seconds, with a long tail.

    `assign_s` is the time until a newly assigned address is described and carries packets; the
    answer comes at once. `answer_s` holds back the answers of an action.
    """

    attach_s: float = 1.0
    detach_s: float = 1.0
    attach_member_s: float = 1.0
    detach_member_s: float = 1.0
    delete_s: float = 0.5
    assign_s: float = 0.0
    start_s: float = 1.0
    stop_s: float = 1.0
    metadata_s: float = 0.0  # how far the metadata service lags behind with ENIs
    describe_s: float = 0.0  # how far lists of ENIs lag behind
    network_s: float = 0.0  # how long a new VPC or vSwitch is Pending
    balancer_s: float = 0.0  # how long a new NLB instance is Provisioning
    job_s: float = 0.0  # how long an NLB job takes
    answer_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ENIAttached:
    """Attaching → InUse."""

    eni_id: ENIId


@dataclass(frozen=True, slots=True, kw_only=True)
class ENIDetached:
    """Detaching → Available."""

    eni_id: ENIId


@dataclass(frozen=True, slots=True, kw_only=True)
class ENIDeleted:
    """Deleting → gone; its addresses are free."""

    eni_id: ENIId


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressesReady:
    """Newly assigned addresses carry packets."""

    eni_id: ENIId
    addresses: frozenset[IPAddress]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceReached:
    """An instance reaches `status`, if it is still `before`."""

    instance_id: InstanceId
    before: InstanceStatus
    status: InstanceStatus


Transition = ENIAttached | ENIDetached | ENIDeleted | AddressesReady | InstanceReached


class Agenda:
    """The transitions to come, by time; at one time in the order of scheduling."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Transition]] = []
        self._order = count()

    def add(self, at: float, transition: Transition) -> None:
        """Schedule a transition."""
        heapq.heappush(self._heap, (at, next(self._order), transition))

    def next_due(self) -> float | None:
        """Return the time of the next transition, or None."""
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> Transition | None:
        """Take the next transition whose time has come, or None."""
        if self._heap and self._heap[0][0] <= now:
            return heapq.heappop(self._heap)[2]
        return None


def settle(state: State, transition: Transition) -> None:
    """Carry out a transition."""
    match transition:
        case ENIAttached(eni_id=eni_id):
            _settle_eni(state, eni_id, ENIStatus.ATTACHING, ENIStatus.IN_USE)
        case ENIDetached(eni_id=eni_id):
            _settle_eni(state, eni_id, ENIStatus.DETACHING, ENIStatus.AVAILABLE)
        case ENIDeleted(eni_id=eni_id):
            if eni_id in state.enis:
                state.remove(state.enis[eni_id])
        case AddressesReady(eni_id=eni_id, addresses=addresses):
            if eni_id in state.enis:
                eni = state.enis[eni_id]
                state.put(replace(eni, unready=eni.unready - addresses))
        case InstanceReached():
            _settle_instance(state, transition)
        case _:
            assert_never(transition)


def _settle_eni(state: State, eni_id: ENIId, before: ENIStatus, after: ENIStatus) -> None:
    eni = state.enis.get(eni_id)
    if eni is not None and eni.status is before:
        state.put(detached(eni) if after is ENIStatus.AVAILABLE else replace(eni, status=after))


def detached(eni: ENIRecord) -> ENIRecord:
    """Return `eni` on no instance. A member is then an ENI like any other, with all that it has."""
    is_member = eni.type is ENIType.MEMBER
    return replace(
        eni,
        type=ENIType.SECONDARY if is_member else eni.type,
        status=ENIStatus.AVAILABLE,
        instance_id=None,
        slot=None,
        trunk_id=None,
        vlan_id=None,
    )


def _settle_instance(state: State, reached: InstanceReached) -> None:
    instance = state.instances.get(reached.instance_id)
    if instance is not None and instance.status is reached.before:
        state.put(replace(instance, status=reached.status))
