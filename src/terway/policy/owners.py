"""Whose is an address? The pod that has it attached, else the newest that is not finished."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from terway.model.address import IPPair
from terway.policy.cluster import Pod, PodKey
from terway.policy.compiling.nets import number_of


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Claim:
    """What a pod says of its addresses; where several say it of one, the greatest has it."""

    is_attached: bool
    created_at: str
    key: PodKey


def claimed(pod: Pod | None, attached: IPPair | None) -> tuple[int, ...]:
    """Return the addresses that a pod claims: those of its interface here, else of its status."""
    if attached is not None:
        return tuple(number_of(address) for address in attached)
    if pod is None or pod.is_finished or pod.is_host_network:
        return ()
    return tuple(dict.fromkeys(number_of(address) for address in pod.addresses))


class Owners:
    """The claims to addresses."""

    __slots__ = ("_claims", "_numbers")

    def __init__(self) -> None:
        self._claims: dict[int, list[Claim]] = {}
        self._numbers: dict[PodKey, tuple[int, ...]] = {}

    def numbers(self, key: PodKey) -> tuple[int, ...]:
        """Return the addresses that a pod claims."""
        return self._numbers.get(key, ())

    def claim(self, claim: Claim, numbers: Iterable[int]) -> None:
        """Take a pod's claims back, and make these."""
        self.waive(claim.key)
        mine = tuple(numbers)
        if mine:
            self._numbers[claim.key] = mine
        for number in mine:
            rivals = self._claims.get(number)
            if rivals is None:
                self._claims[number] = [claim]
            else:
                rivals.append(claim)
                rivals.sort()

    def waive(self, key: PodKey) -> None:
        """Take a pod's claims back."""
        for number in self._numbers.pop(key, ()):
            rivals = [claim for claim in self._claims.pop(number) if claim.key != key]
            if rivals:
                self._claims[number] = rivals

    def of(self, number: int) -> PodKey | None:
        """Return the pod that has an address."""
        rivals = self._claims.get(number)
        return rivals[-1].key if rivals else None
