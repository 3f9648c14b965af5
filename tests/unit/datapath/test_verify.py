"""A difference names the object, what was wanted, and what was found."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from terway.datapath.verify import verify, verify_chained
from terway.datapath.veth import desired_attachment
from terway.model.address import Family
from terway.model.ids import MacAddress
from terway.model.network import Neighbour, RoutingRule
from tests.support.attachments import ENI, NODE_FACTS, attachment

DESIRED = desired_attachment(attachment(), eni=ENI, node=NODE_FACTS)


def test_what_is_as_planned_has_no_differences():
    assert verify(DESIRED, DESIRED) == ()


@pytest.mark.parametrize("missing", DESIRED.node, ids=lambda one: type(one).__name__)
def test_each_missing_object_of_the_node_is_named(missing):
    node = tuple(one for one in DESIRED.node if one != missing)

    [found] = verify(DESIRED, replace(DESIRED, node=node))

    assert (found.where, found.found) == ("node", "nothing")


@pytest.mark.parametrize("missing", DESIRED.pod or (), ids=lambda one: type(one).__name__)
def test_each_missing_object_of_the_pod_is_named(missing):
    pod = tuple(one for one in DESIRED.pod or () if one != missing)

    [found] = verify(DESIRED, replace(DESIRED, pod=pod))

    assert (found.where, found.found) == ("/run/netns/pod", "nothing")


def test_a_namespace_that_is_gone_is_the_only_difference():
    [found] = verify(DESIRED, replace(DESIRED, pod=None, node=()))

    assert str(found) == "/run/netns/pod: network namespace: wanted present, found nothing"


def test_ends_that_are_not_one_veth_are_a_difference():
    [found] = verify(DESIRED, replace(DESIRED, is_paired=False))

    assert found.found == "no such pair"


def test_a_second_rule_for_the_pods_address_is_a_difference():
    competitor = RoutingRule(
        family=Family.V4, priority=2048, source=ip_network("192.168.32.1/32"), table=1009
    )

    [found] = verify(DESIRED, replace(DESIRED, node=(*DESIRED.node, competitor)))

    assert str(found) == ("node: rule 2048 from 192.168.32.1/32: wanted nothing, found lookup 1009")


def test_check_allows_that_a_chained_plugin_has_cost_the_pod_its_neighbours():
    assert DESIRED.pod is not None
    rest = tuple(one for one in DESIRED.pod if not isinstance(one, Neighbour))

    assert verify(DESIRED, replace(DESIRED, pod=rest))
    assert verify_chained(DESIRED, replace(DESIRED, pod=rest), pod_mac=None) == ()


def test_check_names_a_neighbour_that_leads_elsewhere():
    assert DESIRED.pod is not None
    wrong = tuple(
        replace(one, mac=MacAddress("02:00:00:00:00:98")) if isinstance(one, Neighbour) else one
        for one in DESIRED.pod
    )

    found = verify_chained(DESIRED, replace(DESIRED, pod=wrong), pod_mac=None)

    assert {one.found for one in found} == {"02:00:00:00:00:98"}
