"""What a pod is given on its way into the API, and which PodNetworkings get in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terway.model.errors import UsageError
from terway.model.ids import SecurityGroupId, VSwitchId, ZoneId
from terway.model.pod_network import ENIOption, Lifetime, PodNetwork, PodNetworking
from terway.model.selector import EVERYTHING, Operator, Requirement, Selector
from terway.podeni.admission import (
    ENI_RESOURCE,
    MEMBER_RESOURCE,
    Held,
    admit_pod,
    check_networking,
    fill_networking,
)
from terway.podeni.pods import PodFacts
from terway.podeni.selection import Selected
from terway.podeni.settings import Defaults, Settings

A, B, C = VSwitchId("vsw-a"), VSwitchId("vsw-b"), VSwitchId("vsw-c")
ZONE_A, ZONE_B = ZoneId("zone-a"), ZoneId("zone-b")
ZONES = {A: ZONE_A, B: ZONE_B}
POD = PodFacts(owner_kinds=("StatefulSet",))


def network(*vswitches: VSwitchId, interface: str = "eth0", **more) -> PodNetwork:
    return PodNetwork(
        interface=interface,
        vswitch_ids=vswitches,
        security_group_ids=(SecurityGroupId("sg-1"),),
        **more,
    )


def admit(*networks: PodNetwork, pod=POD, held=None, settings=Settings()):  # noqa: B008
    return admit_pod(pod, Selected(networks=networks), zones=ZONES, held=held, settings=settings)


@pytest.mark.parametrize(
    ("options", "settings", "resource", "count"),
    [
        ((ENIOption.DEFAULT,), Settings(), MEMBER_RESOURCE, 1),
        ((ENIOption.TRUNK, ENIOption.DEFAULT), Settings(), MEMBER_RESOURCE, 2),
        ((ENIOption.ENI, ENIOption.DEFAULT), Settings(), ENI_RESOURCE, 2),
        ((ENIOption.DEFAULT,), Settings(has_trunk=False), ENI_RESOURCE, 1),
        ((ENIOption.DEFAULT,), Settings(injects_resource=False), "", 0),
    ],
)
def test_a_pod_asks_for_as_many_enis_as_it_has_networks(options, settings, resource, count):
    networks = [network(A, interface=f"eth{i}", eni=one) for i, one in enumerate(options)]

    patch = admit(*networks, settings=settings)

    assert (patch.resource, patch.count) == (resource, count)


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ((ENIOption.ENI, ENIOption.TRUNK), Settings()),
        ((ENIOption.TRUNK,), Settings(has_trunk=False)),
    ],
)
def test_what_no_node_has_is_refused(options, settings):
    networks = [network(A, interface=f"eth{i}", eni=one) for i, one in enumerate(options)]

    with pytest.raises(UsageError, match="eniType"):
        admit(*networks, settings=settings)


def test_a_pod_goes_where_each_of_its_networks_has_a_vswitch():
    patch = admit(network(A, B), network(A, interface="eth1"))

    assert patch.zones == (frozenset({ZONE_A, ZONE_B}), frozenset({ZONE_A}))


def test_a_vswitch_that_nobody_has_looked_up_binds_nobody():
    assert admit(network(A, C)).zones == ()


def test_a_pod_whose_eni_waits_goes_where_it_is():
    patch = admit(network(A, B), held=Held(zone_id=ZONE_B))

    assert patch.zones[0] == frozenset({ZONE_B})


def test_a_pod_of_a_daemon_set_has_a_node_already():
    patch = admit(
        network(A),
        pod=PodFacts(owner_kinds=("DaemonSet",)),
        settings=Settings(has_gates=True),
    )

    assert (patch.zones, patch.is_gated) == ((), False)


@pytest.mark.parametrize("held", [None, Held(zone_id=ZONE_B)])
def test_networks_that_no_zone_has_are_refused(held):
    networks = (network(A),) if held else (network(A), network(B, interface="eth1"))

    with pytest.raises(UsageError, match="no zone has all") as caught:
        admit(*networks, held=held)

    assert "vSwitchOptions" in caught.value.field


def test_a_gate_keeps_a_pod_back_whose_eni_does_not_exist_yet():
    gates = Settings(has_gates=True)

    assert admit(network(A), settings=gates).is_gated
    assert not admit(network(A), settings=gates, held=Held(zone_id=ZONE_A)).is_gated
    assert not admit(network(A)).is_gated


GOOD = PodNetworking(name="red", network=network(A, interface=""))


def test_a_pod_networking_takes_from_eni_config_what_it_does_not_say():
    defaults = Defaults(vswitch_ids=(B,), security_group_ids=(SecurityGroupId("sg-2"),))

    filled = fill_networking(PodNetworking(name="red"), defaults)

    assert filled.network.vswitch_ids == (B,)
    assert filled.network.security_group_ids == ("sg-2",)
    assert fill_networking(GOOD, defaults) == GOOD


def test_a_pod_networking_that_pods_can_have_gets_in():
    check_networking(GOOD, Settings())
    check_networking(replace(GOOD, pods=EVERYTHING), Settings(injects_resource=False))


@pytest.mark.parametrize(
    ("network_", "settings", "field"),
    [
        (network(), Settings(), "spec.vSwitchOptions"),
        (PodNetwork(vswitch_ids=(A,)), Settings(), "spec.securityGroupIDs"),
        (
            network(A, lifetime=Lifetime(is_fixed=True, ttl_s=299.0)),
            Settings(),
            "spec.allocationType.releaseAfter",
        ),
        (
            network(A, eni=ENIOption.ENI),
            Settings(injects_resource=False),
            "spec.eniOptions.eniType",
        ),
        (network(A, eni=ENIOption.TRUNK), Settings(has_trunk=False), "spec.eniOptions.eniType"),
    ],
)
def test_a_pod_networking_that_no_pod_could_have_is_refused(network_, settings, field):
    with pytest.raises(UsageError) as caught:
        check_networking(PodNetworking(name="red", network=network_), settings)

    assert caught.value.field == field


def selecting(key: str, value: str = "z") -> Selector:
    one = Requirement(key=key, operator=Operator.IN, values=frozenset((value,)))
    return Selector(requirements=frozenset((one,)))


@pytest.mark.parametrize("field", ["podSelector", "namespaceSelector"])
@pytest.mark.parametrize(
    ("key", "value"),
    [("a b", "z"), ("-a", "z"), ("a/b/c", "z"), ("A.B/c", "z"), ("a" * 64, "z"), ("a", "b c")],
)
def test_a_selector_by_what_no_label_is_called_or_has_is_refused(field, key, value):
    wrong = selecting(key, value)
    networking = PodNetworking(
        name="red",
        network=network(A),
        pods=wrong if field == "podSelector" else None,
        namespaces=wrong if field == "namespaceSelector" else None,
    )

    with pytest.raises(UsageError) as caught:
        check_networking(networking, Settings())

    assert caught.value.field == f"spec.selector.{field}"
    assert (value if key == "a" else key) in str(caught.value)


@pytest.mark.parametrize(("key", "value"), [("app", ""), ("k8s.io/App_1.x", "V.1-b")])
def test_a_selector_by_labels_that_can_be_gets_in(key, value):
    check_networking(
        PodNetworking(name="red", network=network(A), pods=selecting(key, value)), Settings()
    )
