"""What is a step done for?"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from terway.controlplane.balancers.tokens import Tokens
from terway.loadbalancer.wanted import Wanted
from terway.model.balancer import LoadBalancerId
from terway.model.ids import ClientToken, VpcId


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is wanted, of which instance, in which VPC."""

    wanted: Wanted
    balancer_id: LoadBalancerId | None
    vpc_id: VpcId
    tokens: Tokens

    def token(self, what: str) -> AbstractContextManager[ClientToken]:
        """Give the client token of a creation for the time of a block."""
        return self.tokens.of(f"{what}-{self.wanted.owner}")
