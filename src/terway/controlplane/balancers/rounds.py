"""How does one instance come to be as it is wanted, or to be gone? By looking, planning, doing.

find ─► plan ─► do ─┐   until nothing is left to do, or the cloud has to work on something
  ▲─────────────────┘
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from terway.cloud.nlb import NlbClient
from terway.cloud.slb import SlbClient
from terway.cloud.source_groups import SourceGroupClient
from terway.controlplane.balancers.doing import ClbDoer, NlbDoer
from terway.controlplane.balancers.finding import Finder
from terway.controlplane.balancers.job import Job
from terway.controlplane.balancers.source_groups import SourceGroupDoer
from terway.controlplane.balancers.tokens import Tokens
from terway.loadbalancer.plan import plan, plan_removal
from terway.loadbalancer.steps import Step
from terway.loadbalancer.upkeep import as_it_is, plan_upkeep
from terway.loadbalancer.values import Cluster, Endpoint, Observed, Service
from terway.loadbalancer.wanted import Wanted
from terway.model.balancer import BalancerProduct, JobId
from terway.model.errors import BugError, TransientError, VpcError

_ROUNDS = 8  # from nothing to all there are six; a job of NLB's takes another look


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One instance as it is after a round. `is_settled`: nothing is left to do for it.

    `trouble` is what the cloud refuses of it, while all else is done.
    """

    wanted: Wanted
    observed: Observed
    is_settled: bool
    trouble: VpcError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """The cloud's load balancers, and how steps are done at each."""

    slb: SlbClient
    nlb: NlbClient
    sources: SourceGroupClient
    finder: Finder = field(init=False)
    clb_doer: ClbDoer = field(init=False)
    nlb_doer: NlbDoer = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "finder", Finder(self.slb, self.nlb, self.sources))
        object.__setattr__(self, "clb_doer", ClbDoer(self.slb))
        object.__setattr__(self, "nlb_doer", NlbDoer(self.nlb, SourceGroupDoer(self.sources)))


class Rounds:
    """Brings instances further. `cluster` is asked anew each time; all raise as the clients do."""

    def __init__(self, products: Products, cluster: Callable[[], Cluster], *, seed: str) -> None:
        self._finder = products.finder
        self._products = products
        self._cluster = cluster
        self._tokens = Tokens(seed)

    async def make(self, wanted: Wanted) -> Made:
        """Do what can be done for one instance."""
        observed, trouble = Observed(), None
        for _ in range(_ROUNDS):
            observed = await self._finder.find(wanted, self._cluster().vpc_id)
            steps = plan(wanted, observed)
            if not steps:
                is_ready = observed.instance is not None and observed.instance.is_ready
                return Made(wanted=wanted, observed=observed, is_settled=is_ready)
            done, trouble = await self._do(steps, wanted, observed)
            if not done:
                break
        return Made(wanted=wanted, observed=observed, is_settled=False, trouble=trouble)

    async def keep_up(
        self, service: Service, endpoints: Sequence[Endpoint], holding: Wanted
    ) -> Made | None:
        """Have what a refused Service holds send to its pods; None where it serves nobody."""
        made: Made | None = None
        for _ in range(_ROUNDS):
            observed = await self._finder.find(holding, self._cluster().vpc_id)
            wanted = as_it_is(service, endpoints, holding, observed)
            if wanted is None:
                return None
            steps = plan_upkeep(wanted, observed)
            done, trouble = await self._do(steps, wanted, observed)
            made = Made(wanted=wanted, observed=observed, is_settled=not steps, trouble=trouble)
            if not done:
                break
        return made

    async def take_away(self, wanted: Wanted, *, spare: str) -> bool:
        """Return whether nothing is left. The instance `spare` stays, even if we have made it."""
        for _ in range(_ROUNDS):
            observed = await self._finder.find(wanted, self._cluster().vpc_id)
            if not wanted.balancer_id and observed.instance and observed.instance.id == spare:
                return True  # whoever names it, keeps it
            steps = plan_removal(observed, mark=wanted.mark, is_ours=not wanted.balancer_id)
            if not steps:
                return True
            done, trouble = await self._do(steps, wanted, observed)
            if trouble is not None and not done:
                raise trouble
        return False

    async def _do(
        self, steps: Iterable[Step], wanted: Wanted, observed: Observed
    ) -> tuple[int, VpcError | None]:
        """Do steps; return how many were done, and the first refusal.

        One that is refused holds up no other: who ends must get weight 0, whether or not the cloud
        takes the instance's new name. What rests on it is refused, too, or in a later plan. A cloud
        that does not answer now is left alone.
        """
        job = Job(
            wanted=wanted,
            balancer_id=observed.instance.id if observed.instance is not None else None,
            vpc_id=self._cluster().vpc_id,
            tokens=self._tokens,
        )
        done, trouble = 0, None
        for step in steps:
            try:
                jobs = await self._do_one(step, job)
            except (TransientError, BugError):
                raise
            except VpcError as error:
                trouble = trouble or error
                continue
            done += 1
            if jobs:
                break  # what comes after a job may need its end
        return done, trouble

    async def _do_one(self, step: Step, job: Job) -> tuple[JobId, ...]:
        if job.wanted.product is BalancerProduct.NLB:
            return await self._products.nlb_doer.do(step, job)
        await self._products.clb_doer.do(step, job)
        return ()
