"""Slots of a node that single pods have: counted as long as their whole ENIs are to be there."""

from __future__ import annotations

import pytest

from terway.controlplane.pools.whole import WholeENIs
from terway.kube.crds import NetworkInterface, NetworkInterfaceStatus
from terway.kube.informer import Change
from terway.kube.resource import ObjectKey
from terway.kube.types import ObjectMeta

ENI = ObjectKey(namespace="", name="eni-1")


def interface(phase: str, node: str = "n1", trunk: str = "") -> NetworkInterface:
    status = NetworkInterfaceStatus(phase=phase, node_name=node, trunk_eni_id=trunk)
    return NetworkInterface(metadata=ObjectMeta(name=ENI.name), status=status)


def changed(counts, old, new):
    return counts.take(Change(key=ENI, old=old, new=new))


@pytest.mark.parametrize("phase", ["Binding", "Bind", "Detaching"])
def test_a_whole_eni_has_a_slot_from_when_it_is_to_be_attached(phase):
    counts = WholeENIs()

    touched = changed(counts, interface("", node=""), interface(phase))

    assert touched == (ObjectKey(namespace="", name="n1"),)
    assert counts.on("n1") == 1


@pytest.mark.parametrize("now", [None, interface("Unbind", node=""), interface("Unbind")])
def test_it_gives_the_slot_back_when_it_is_nowhere(now):
    counts, there = WholeENIs(), interface("Bind")
    changed(counts, None, there)

    assert changed(counts, there, now) == (ObjectKey(namespace="", name="n1"),)

    assert counts.on("n1") == 0


def test_a_member_of_the_trunk_has_no_slot():
    counts = WholeENIs()

    assert changed(counts, None, interface("Bind", trunk="eni-trunk")) == ()

    assert counts.on("n1") == 0


def test_an_eni_that_moves_wakes_both_nodes():
    counts, there = WholeENIs(), interface("Bind")
    changed(counts, None, there)

    touched = changed(counts, there, interface("Binding", node="n2"))

    assert {one.name for one in touched} == {"n1", "n2"}
    assert (counts.on("n1"), counts.on("n2")) == (0, 1)
