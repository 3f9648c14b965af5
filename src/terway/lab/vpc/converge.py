"""Make the fabric's kernel state what it should be: read, plan, act, read again. Blocking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from terway.lab.vpc.balancers import served_addresses
from terway.lab.vpc.contract import SERVICES_MAC, SERVICES_MTU_BYTES
from terway.lab.vpc.kernel import FabricKernel
from terway.lab.vpc.numbers import Numbers
from terway.lab.vpc.plan import LinkPlan, plan_counters, plan_links, plan_tables, port_numbers
from terway.lab.vpc.state import VpcState
from terway.lab.vpc.tables import Tables, Wiring, compile_tables
from terway.model.errors import TransientError, VpcError
from terway.model.ids import InstanceId

_ATTEMPTS = 3  # an instance's namespace may go while its port is plugged in


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What should be: the state, its numbers, and the namespaces of the bound instances."""

    state: VpcState
    numbers: Numbers
    instances: Mapping[InstanceId, str]


def converge(kernel: FabricKernel, wish: Wish) -> None:
    """Make the kernel as wished.

    Raises TransientError when some port cannot be plugged in; everything else is then done.
    """
    failures: list[VpcError] = []
    for _attempt in range(_ATTEMPTS):
        failures = _change(kernel, wish)
        if not failures and _is_converged(kernel, wish):
            return
    reasons = "; ".join(str(one) for one in failures) or "links or maps changed meanwhile"
    raise TransientError(f"the fabric could not take its state: {reasons}")


def _change(kernel: FabricKernel, wish: Wish) -> list[VpcError]:
    links = plan_links(wish.state.ports, wish.instances, kernel.links())
    kernel.unplug(links.replaced)
    failures = _plug(kernel, links, wish.instances)
    wiring = _read_wiring(kernel, wish)
    made, removed = plan_counters((*wiring.ports.values(), wiring.services), kernel.counter_keys())
    kernel.change_counters(made, ())
    kernel.change_tables(plan_tables(_desired(wish, wiring), kernel.tables()))
    kernel.services.ensure_addresses(served_addresses(wish.state))
    kernel.unplug(links.gone)
    kernel.change_counters((), removed)
    return failures


def _plug(
    kernel: FabricKernel, links: LinkPlan, instances: Mapping[InstanceId, str]
) -> list[VpcError]:
    """Plug in what can be plugged in; one instance that is gone must not stop the others."""
    failures: list[VpcError] = []
    for plug in links.plugs:
        try:
            kernel.plug(plug, instances[plug.instance_id])
        except VpcError as error:
            failures.append(error)
    return failures


def _read_wiring(kernel: FabricKernel, wish: Wish) -> Wiring:
    links = plan_links(wish.state.ports, wish.instances, there := kernel.links())
    going = {one.name for one in links.gone}
    staying = [link for link in there if link.name not in going]
    return Wiring(
        ports=port_numbers(wish.state.ports, staying),
        services=kernel.services.ifindex,
        services_mac=SERVICES_MAC,
        services_mtu_bytes=SERVICES_MTU_BYTES,
    )


def _desired(wish: Wish, wiring: Wiring) -> Tables:
    return compile_tables(wish.state, wiring, wish.numbers)


def _is_converged(kernel: FabricKernel, wish: Wish) -> bool:
    if plan_links(wish.state.ports, wish.instances, kernel.links()) != LinkPlan():
        return False
    return not plan_tables(_desired(wish, _read_wiring(kernel, wish)), kernel.tables())
