"""When does which controller look, and who carries out what it wants?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from terway.lab.kubeapi.controllers.accounts import plan_role_sums, plan_service_accounts
from terway.lab.kubeapi.controllers.actions import Action, apply
from terway.lab.kubeapi.controllers.customresources import plan_custom_resources
from terway.lab.kubeapi.controllers.daemonsets import plan_daemon_sets
from terway.lab.kubeapi.controllers.deployments import plan_deployments
from terway.lab.kubeapi.controllers.endpointslices import concerns_slices, plan_endpoint_slices
from terway.lab.kubeapi.controllers.endpointsv1 import plan_endpoints
from terway.lab.kubeapi.controllers.errands import Errands
from terway.lab.kubeapi.controllers.garbage import (
    plan_expired_events,
    plan_garbage,
    plan_namespaces,
)
from terway.lab.kubeapi.controllers.loadbalancers import concerns_balancers, plan_load_balancers
from terway.lab.kubeapi.controllers.nodes import plan_nodes
from terway.lab.kubeapi.controllers.replicasets import plan_replica_sets
from terway.lab.kubeapi.controllers.scheduler import plan_bindings
from terway.lab.kubeapi.controllers.statefulsets import plan_stateful_sets
from terway.lab.kubeapi.controllers.view import View
from terway.lab.kubeapi.objects import is_terminating, metadata
from terway.lab.kubeapi.resources import (
    CLUSTER_ROLE,
    CONTROLLER_REVISION,
    DAEMON_SET,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    EVENT,
    LEASE,
    NAMESPACE,
    NODE,
    POD,
    REPLICA_SET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    ResourceDef,
)
from terway.lab.kubeapi.state import ClusterState
from terway.lab.kubeapi.store import Change
from terway.model.address import IPNetwork

SLICES = "endpointslices"
TICK_S = 1.0  # how often those look whose plan depends on the time
_ROUNDS = 100  # that settling may take; more means that two controllers undo each other


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Controller:
    """A plan, and the changes after which it may want something else than before.

    `ticks`: the passing of time counts as a change, too.
    """

    name: str
    plan: Callable[[View], Iterable[Action]]
    wants: Callable[[Change], bool]
    ticks: bool = False


def _any_of(*resources: ResourceDef) -> Callable[[Change], bool]:
    return lambda change: change.resource in resources


def _concerns_owners(change: Change) -> bool:
    held = change.new.object
    if change.resource in (EVENT, LEASE):
        return False
    before = metadata(change.old.object) if change.old else {}
    moves = before.get("ownerReferences") != metadata(held).get("ownerReferences")
    return moves or change.is_deletion or is_terminating(held)


def _concerns_namespaces(change: Change) -> bool:
    return change.is_deletion or is_terminating(change.new.object)


def _concerns_endpoints(change: Change) -> bool:
    """A Service that goes takes its Endpoints along; slices are nothing to them."""
    if change.resource is SERVICE and change.is_deletion:
        return True
    return change.resource is not ENDPOINT_SLICE and concerns_slices(change)


# Node life comes before the scheduler: a taint must be there before somebody places a pod.
CONTROLLERS = (
    Controller(name="nodes", plan=plan_nodes, wants=_any_of(NODE, LEASE, POD), ticks=True),
    Controller(
        name="deployments",
        plan=plan_deployments,
        wants=_any_of(DEPLOYMENT, REPLICA_SET, POD),
        ticks=True,
    ),
    Controller(
        name="replicasets", plan=plan_replica_sets, wants=_any_of(REPLICA_SET, POD), ticks=True
    ),
    Controller(
        name="daemonsets",
        plan=plan_daemon_sets,
        wants=_any_of(DAEMON_SET, POD, NODE),
        ticks=True,
    ),
    Controller(
        name="statefulsets",
        plan=plan_stateful_sets,
        wants=_any_of(STATEFUL_SET, CONTROLLER_REVISION, POD),
        ticks=True,
    ),
    Controller(name="scheduler", plan=plan_bindings, wants=_any_of(POD, NODE)),
    Controller(name=SLICES, plan=plan_endpoint_slices, wants=concerns_slices),
    Controller(name="endpoints", plan=plan_endpoints, wants=_concerns_endpoints),
    Controller(name="garbage", plan=plan_garbage, wants=_concerns_owners),
    Controller(
        name="service accounts",
        plan=plan_service_accounts,
        wants=_any_of(NAMESPACE, SERVICE_ACCOUNT),
    ),
    Controller(name="role sums", plan=plan_role_sums, wants=_any_of(CLUSTER_ROLE)),
    Controller(name="custom resources", plan=plan_custom_resources, wants=_concerns_namespaces),
    Controller(name="namespaces", plan=plan_namespaces, wants=_concerns_namespaces),
    Controller(name="events", plan=plan_expired_events, wants=lambda change: False, ticks=True),
)


def with_slices_of(
    limit: int, controllers: tuple[Controller, ...] = CONTROLLERS
) -> tuple[Controller, ...]:
    """Return the controllers, with at most `limit` endpoints in a slice."""
    limited = partial(plan_endpoint_slices, limit=limit)
    return tuple(replace(one, plan=limited) if one.name == SLICES else one for one in controllers)


def load_balancers(ranges: Sequence[IPNetwork]) -> Controller:
    """Return the controller that gives load balancers addresses of `ranges`."""
    plan = partial(plan_load_balancers, ranges=ranges)
    return Controller(name="load balancers", plan=plan, wants=concerns_balancers)


class Runner:
    """Looks where something changed, applies what is wanted, and looks again."""

    def __init__(
        self, state: ClusterState, controllers: tuple[Controller, ...] = CONTROLLERS
    ) -> None:
        self._state = state
        self._controllers = controllers
        # What each has to look at; None is everything, as all do once at the start.
        self._dirty: dict[Controller, list[Change] | None] = dict.fromkeys(controllers)
        self.wake = asyncio.Event()

    def on_change(self, change: Change) -> None:
        """Note who has to look again; the store's listener."""
        for one in self._controllers:
            if one.wants(change) and (changes := self._dirty.setdefault(one, [])) is not None:
                changes.append(change)
        self.wake.set()

    def tick(self) -> None:
        """Note that time has passed."""
        self._dirty.update(dict.fromkeys(one for one in self._controllers if one.ticks))

    def look(self, errands: Errands | None = None) -> bool:
        """Let everybody look who has to, once; say whether somebody has to look again.

        What webhooks must see goes to `errands`; without, no webhook is asked.
        """
        self.wake.clear()
        for controller in self._controllers:
            if controller in self._dirty and not (errands and errands.is_busy(controller)):
                view = View(self._state, self._dirty.pop(controller))
                for action in tuple(controller.plan(view)):
                    if errands is None or not errands.take(controller, action):
                        apply(self._state, action)
        return any(not (errands and errands.is_busy(one)) for one in self._dirty)


def settle(state: ClusterState, controllers: tuple[Controller, ...] = CONTROLLERS) -> None:
    """Let the controllers work until nothing is left to do now. For tests and one-shot use."""
    runner = Runner(state, controllers)
    stop = state.store.on_change(runner.on_change)
    try:
        for _ in range(_ROUNDS):
            if not runner.look():
                return
    finally:
        stop()
    raise AssertionError(f"the controllers did not settle in {_ROUNDS} rounds")


async def run_controllers(
    state: ClusterState, controllers: tuple[Controller, ...] = CONTROLLERS
) -> None:
    """Run the controllers until cancelled."""
    runner = Runner(state, controllers)
    stop = state.store.on_change(runner.on_change)
    try:
        async with asyncio.TaskGroup() as tasks:
            errands = Errands(state, tasks, runner.wake.set)
            await _run(runner, errands)
    finally:
        stop()


async def _run(runner: Runner, errands: Errands) -> None:
    loop = asyncio.get_running_loop()
    next_tick = loop.time() + TICK_S
    while True:
        busy = runner.look(errands)
        if loop.time() >= next_tick:
            runner.tick()
            next_tick = loop.time() + TICK_S
        elif busy:
            await asyncio.sleep(0)  # requests come first
        else:
            await _wait(runner.wake, next_tick - loop.time())


async def _wait(wake: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(max(timeout_s, 0)):
            await wake.wait()
    except TimeoutError:
        return
