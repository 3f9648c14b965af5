"""While a Service is refused its backends follow the pods, and nothing else is done."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from hypothesis import given, settings
from hypothesis import strategies as st

from terway.loadbalancer.steps import ChangeBackends
from terway.loadbalancer.upkeep import as_it_is, plan_upkeep
from terway.loadbalancer.values import NLB_CLASS, Endpoint, Observed, Port
from terway.loadbalancer.wanted import Wanted, backends_of, holdings_of
from terway.model.balancer import Backend, BalancerProduct
from terway.model.errors import UsageError
from terway.model.ids import ENIId
from tests.property.test_loadbalancer import CLUSTER, SERVICE, cases, converge
from tests.support.balancer_paper import Paper

ENDPOINTS = st.lists(
    st.builds(
        Endpoint,
        address=st.integers(1, 9).map(lambda one: IPv4Address("192.168.32.0") + one),
        ports=st.just({"": 8080}),
        serves=st.booleans(),
        is_terminating=st.booleans(),
        eni_id=st.sampled_from([ENIId("eni-1"), None]),
    ),
    unique_by=lambda one: one.address,
    max_size=6,
)


def without_backends(seen: Observed) -> Observed:
    return replace(seen, groups=tuple(replace(one, backends=()) for one in seen.groups))


@settings(max_examples=50)
@given(cases(), ENDPOINTS, st.booleans())
def test_backends_become_those_that_there_are_and_nothing_else_changes(
    case: tuple[Wanted, Paper], endpoints: list[Endpoint], loses_ports: bool
) -> None:
    wanted, paper = case
    try:
        converge(wanted, paper)
    except UsageError:
        return
    instance = paper.seen.instance
    assert instance is not None
    own = replace(instance, addresses=(IPv4Address("203.0.113.1"),))
    before = paper.seen = replace(paper.seen, instance=own)
    ports = tuple(
        Port(name="", protocol=one.protocol.transport, port=one.port) for one in wanted.listeners
    )
    is_nlb = wanted.product is BalancerProduct.NLB
    service = replace(
        SERVICE,
        ports=() if loses_ports else ports,
        load_balancer_class=NLB_CLASS if is_nlb else "",
    )
    holding = holdings_of(service, wanted.balancer_id, CLUSTER)[0]

    held = as_it_is(service, endpoints, holding, paper.seen)
    assert held is not None or not any(
        one.http is None or not one.http.redirect_port for one in wanted.listeners
    )
    if held is None:
        return
    steps = plan_upkeep(held, paper.seen)
    assert all(isinstance(one, ChangeBackends) for one in steps)
    for step in steps:
        paper.do(step)

    assert plan_upkeep(held, paper.seen) == ()
    assert without_backends(paper.seen) == without_backends(before)
    for backends in behind(paper.seen, held):
        there = {one.address for one in backends}
        gone = {one.address for one in endpoints if not one.serves}
        assert not there & gone, "who does not serve is behind no listener"
        if not loses_ports:
            assert set(backends) == set(backends_of(ports[0], endpoints, of_addresses=False))


def behind(seen: Observed, held: Wanted) -> list[tuple[Backend, ...]]:
    names = {one.group_name for one in held.listeners}
    return [one.backends for one in seen.groups if one.name in names]
