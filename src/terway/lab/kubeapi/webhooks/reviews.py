"""What is a verb's question to the webhooks, and how does it get the answer?"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from random import Random

import msgspec

from terway.lab.kubeapi.objects import Object
from terway.lab.kubeapi.rbac.users import Identity
from terway.lab.kubeapi.resources import ResourceDef


class Phase(Enum):
    """Which webhooks a review is for: those that change, or those that judge the result."""

    MUTATE = "mutate"
    VALIDATE = "validate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One write as it is about to happen. `object` is None of a deletion, `old` of a creation."""

    phase: Phase
    operation: str  # CREATE, UPDATE, DELETE
    resource: ResourceDef
    namespace: str
    name: str
    subresource: str = ""
    object: Object | None = None
    old: Object | None = None
    dry_run: bool = False

    @property
    def key(self) -> bytes:
        """Return what tells this question from others about the same write."""
        facts = (self.phase.value, self.operation, self.subresource, self.object, self.old)
        return msgspec.json.encode(facts)


class NeedsReviewError(Exception):
    """A verb cannot go on without an answer. It has written nothing."""

    def __init__(self, review: Review) -> None:
        super().__init__(f"{review.operation} of {review.name} waits for webhooks")
        self.review = review


@dataclass(slots=True, kw_only=True)
class Trial:
    """One write with the answers it has so far; what it makes up is the same in each attempt."""

    user: Identity
    now: str
    seed: int
    answers: dict[bytes, Object | None] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def rng(self) -> Random:
        """Return the randomness of an attempt."""
        return Random(self.seed)

    def ask(self, review: Review) -> Object | None:
        """Return the object as the webhooks want it. NeedsReviewError when none was asked yet."""
        key = review.key
        if key not in self.answers:
            raise NeedsReviewError(review)
        return self.answers[key]
