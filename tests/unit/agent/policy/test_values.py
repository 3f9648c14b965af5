"""What policy reads of pods, where their packets pass, and which policies select them."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from terway.agent.policy.hooks import (
    hooks_in,
    hooks_of_node,
    namespaces_of,
    pod_of,
    spread_change,
    spread_sides,
)
from terway.agent.policy.objects import LEAN_PODS
from terway.agent.policy.objects import pod_of as read_pod
from terway.agent.policy.reading import read_policy
from terway.agent.policy.seats import Seats, seat_of
from terway.agent.policy.selected import PolicyIndex
from terway.kube.resource import CLUSTER_NETWORK_POLICIES, NETWORK_POLICIES
from terway.model.attachment import AttachmentKey
from terway.model.interface import InterfaceSpec, Mode
from terway.policy.cluster import NamedPort, Namespace, Pod, PodKey, Protocol
from terway.policy.compiled import Change, Compiled, RuleSetId, Sides
from terway.policy.policies import Kind
from tests.support.attachments import attachment

WEB = PodKey(namespace="default", name="web")
SIDES = Sides(ingress=RuleSetId(1))
POD: dict[str, Any] = {
    "metadata": {
        "name": "web",
        "namespace": "default",
        "labels": {"app": "web"},
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "annotations": {"long": "x" * 1000},
    },
    "spec": {
        "nodeName": "n1",
        "containers": [{"ports": [{"name": "http", "containerPort": 80}, {"containerPort": 9}]}],
        "initContainers": [
            {"restartPolicy": "Always", "ports": [{"name": "side", "containerPort": 81}]},
            {"ports": [{"name": "once", "containerPort": 82}]},
        ],
    },
    "status": {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
    },
}


def test_a_pod_is_read_with_the_named_ports_of_what_stays_and_nothing_else():
    pod = read_pod(LEAN_PODS.decoder.decode(json.dumps(POD)))

    assert pod.addresses == (ip_address("10.0.0.1"), ip_address("fd00::1"))
    assert pod.ports == (
        NamedPort(name="http", protocol=Protocol.TCP, port=80),
        NamedPort(name="side", protocol=Protocol.TCP, port=81),
    )
    assert (pod.node, pod.is_finished, pod.labels) == ("n1", False, {"app": "web"})
    assert pod.created_at == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_finished_is_known_as_such(phase):
    raw = {**POD, "status": {**POD["status"], "phase": phase}}

    assert read_pod(LEAN_PODS.decoder.decode(json.dumps(raw))).is_finished


def seats(*attachments):
    found = [seat for one in attachments if (seat := seat_of(one)) is not None]
    by_pod: dict = {}
    for seat in found:
        by_pod.setdefault(seat.pod, []).append(seat)
    return {pod: tuple(of_pod) for pod, of_pod in by_pod.items()}


def child(parent, ifname):
    key = AttachmentKey(container_id=parent.key.container_id, ifname=ifname)
    return replace(parent, key=key, spec=InterfaceSpec(parent=parent.key.ifname))


def test_every_interface_of_a_pod_is_judged_by_the_same_rule_sets():
    """Bug class 36."""
    one = attachment(1, pod="web")
    here = seats(child(one, "eth1"), one)
    hooks = hooks_of_node(here)

    spread = spread_sides(Compiled(sides={WEB: SIDES}), hooks)

    assert len(set(hooks.values())) == 2
    assert set(spread.sides.values()) == {SIDES}
    assert {pod_of(hook) for hook in spread.sides} == {WEB}
    assert WEB in hooks  # the one that the runtime asked for


def test_an_interface_that_comes_later_gets_the_sides_that_its_pod_has():
    one = attachment(1, pod="web")
    before, now = hooks_of_node(seats(one)), hooks_of_node(seats(one, child(one, "eth1")))

    change = spread_change(Change(), {WEB: SIDES}, before, now)
    back = spread_change(Change(), {WEB: SIDES}, now, before)

    (hook,) = change.sides
    assert change.sides[hook] == SIDES
    assert back.sides == {hook: None}


def test_a_pod_with_an_eni_is_judged_inside_as_well():
    one = replace(attachment(1, pod="web"), spec=InterfaceSpec(mode=Mode.EXCLUSIVE))
    here = seats(one)

    assert namespaces_of(here) == {one.netns: WEB}
    assert hooks_in(one.netns, here) == {WEB: "eth0"}
    assert hooks_of_node(here)[WEB].startswith("cali")


def test_a_link_that_two_sandboxes_of_a_name_have_had_is_the_later_pods():
    """The DEL of a pod that was deleted by force may come after the ADD of its successor."""
    old, new = (seat_of(attachment(number, pod="web")) for number in (1, 2))
    assert old is not None
    assert new is not None
    ours = Seats()
    ours.put((old, new))
    ours.tell_apart(WEB, lambda seat: seat == old)

    while_both = hooks_of_node(ours.snapshot())
    ours.drop(old)

    assert len(ours.snapshot()) == 1
    assert while_both == hooks_of_node(ours.snapshot()) == {WEB: new.host_link}


def policy(namespace="default"):
    return read_policy(
        Kind.NETWORK,
        NETWORK_POLICIES,
        {"metadata": {"name": "p", "namespace": namespace}, "spec": {"podSelector": {}}},
    )


def test_policies_select_in_their_own_namespace():
    index = PolicyIndex()
    for one in (policy(), policy("other")):
        index.put(one.key, one)

    found = [*index.selecting(Pod(key=WEB), {})]

    assert [one.key.namespace for one in found] == ["default"]
    index.put(found[0].key, None)
    assert [*index.selecting(Pod(key=WEB), {})] == []


def test_a_cluster_policy_selects_by_the_labels_of_namespaces():
    raw = {
        "metadata": {"name": "c"},
        "spec": {
            "tier": "Admin",
            "priority": 1,
            "subject": {"namespaces": {"matchLabels": {"team": "red"}}},
        },
    }
    one = read_policy(Kind.CLUSTER, CLUSTER_NETWORK_POLICIES, raw)
    index = PolicyIndex()
    index.put(one.key, one)
    red = {"default": Namespace(name="default", labels={"team": "red"})}

    assert [*index.selecting(Pod(key=WEB), red)] == [one]
    assert [*index.selecting(Pod(key=WEB), {})] == []
    assert [*index.selecting(Pod(key=WEB, is_host_network=True), red)] == []


def test_a_policy_that_cannot_be_read_closes_its_namespace_and_says_why():
    raw = {"metadata": {"name": "p", "namespace": "default"}, "spec": {"podSelector": "all"}}

    one = read_policy(Kind.NETWORK, NETWORK_POLICIES, raw)

    assert one.fault
    index = PolicyIndex()
    index.put(one.key, one)
    assert [*index.selecting(Pod(key=WEB), {})] == [one]
