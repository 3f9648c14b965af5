"""What of a Service's is at the cloud that it has no use for, and is it gone?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from terway.controlplane.balancers.finding import owner_tags
from terway.controlplane.balancers.objects import BalancedService, bare_service, named_balancer
from terway.controlplane.balancers.rounds import Rounds
from terway.kube.resource import ObjectKey, key_of
from terway.loadbalancer.values import Cluster
from terway.loadbalancer.wanted import Wanted, holdings_of


class Leaving:
    """Takes away instances. `cluster` is asked anew each time; all raise as the clients do."""

    def __init__(self, rounds: Rounds, cluster: Callable[[], Cluster]) -> None:
        self._rounds = rounds
        self._cluster = cluster
        self._cleared: dict[ObjectKey, frozenset[object]] = {}

    async def clear(self, found: BalancedService, wanted: Sequence[Wanted]) -> None:
        """Take away instances of ours that the Service has no more use for.

        Asked once for each set of those that it wants, and after each start.
        """
        kept = frozenset((one.product, one.instance.tags) for one in wanted if not one.balancer_id)
        if self._cleared.get(key_of(found)) == kept:
            return
        own = {owner_tags(one) for one in wanted if not one.balancer_id}
        done = [
            await self._rounds.take_away(one, spare=named_balancer(found))
            for one in self.holdings(found)
            if not one.balancer_id and owner_tags(one) not in own
        ]
        if all(done):
            self._cleared[key_of(found)] = kept

    async def take_all(self, found: BalancedService) -> bool:
        """Take away all that the Service had; return whether nothing is left."""
        for one in self.holdings(found):
            if not await self._rounds.take_away(one, spare=named_balancer(found)):
                return False
        self._cleared.pop(key_of(found), None)
        return True

    def holdings(self, found: BalancedService) -> tuple[Wanted, ...]:
        """Return what it may have, whatever it says by now: that may be wrong.

        Its class is gone with its type; before, nobody else's product is asked for.
        """
        own = bare_service(found)
        held = holdings_of(own, named_balancer(found), self._cluster())
        is_known = found.spec.type == "LoadBalancer"
        return tuple(one for one in held if not is_known or one.product is own.product)
