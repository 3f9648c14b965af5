"""Which policies do not say what they seem to? Findings with policy, rule and remedy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from terway.model.address import IPAddress
from terway.policy.policies import Direction, PolicyKey


class Level(Enum):
    """How sure it is that somebody must look."""

    WARNING = "warning"  # it does not do what it was written for
    NOTE = "note"  # it may be meant so


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something about a policy; `rule` is its place in the list of `direction`, from 0."""

    code: str  # for programs; never changes its meaning
    level: Level
    policy: PolicyKey
    text: str
    remedy: str
    direction: Direction | None = None
    rule: int | None = None

    @property
    def where(self) -> str:
        """Return the policy, and the rule if it is about one."""
        if self.direction is None or self.rule is None:
            return str(self.policy)
        return f"{self.policy} {self.direction.value.lower()}[{self.rule}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What else is known of the cluster: its services' addresses, and which pods' are made up."""

    services: Mapping[IPAddress, str]
    has_real_addresses: bool = True


def in_order(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield findings by policy and rule, each once."""

    def place(one: Finding) -> tuple[str, str, int, str]:
        direction = one.direction.value if one.direction is not None else ""
        return str(one.policy), direction, -1 if one.rule is None else one.rule, one.code

    yield from sorted(dict.fromkeys(findings), key=place)
