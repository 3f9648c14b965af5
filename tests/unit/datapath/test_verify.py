"""A difference names the object, what was wanted, and what was found."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from terway.datapath.verify import verify
from terway.datapath.veth import desired_attachment
from terway.model.address import Family
from terway.model.network import RoutingRule
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
