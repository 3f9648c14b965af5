"""Which networks a pod gets, and what is refused."""

from __future__ import annotations

import pytest

from terway.model.errors import UsageError
from terway.model.ids import SecurityGroupId, VSwitchId, ZoneId
from terway.model.pod_network import (
    Asked,
    ENIOption,
    Lifetime,
    NetworkRequest,
    PodNetwork,
    PodNetworking,
    VSwitchChoice,
)
from terway.model.selector import Operator, Requirement, Selector
from terway.podeni.pods import PodFacts
from terway.podeni.selection import select_networks
from terway.podeni.settings import Defaults, Settings

A, B = VSwitchId("vsw-a"), VSwitchId("vsw-b")
GROUP = SecurityGroupId("sg-1")
DEFAULTS = Defaults(vswitch_ids=(A,), security_group_ids=(GROUP,), resource_group_id="rg-1")
WEB = PodFacts(labels={"app": "web"}, owner_kinds=("ReplicaSet",))
FIXED = Lifetime(is_fixed=True, ttl_s=600.0)


def label(key: str, value: str) -> Selector:
    one = Requirement(key=key, operator=Operator.IN, values=frozenset({value}))
    return Selector(requirements=frozenset({one}))


def networking(name: str, *, ready: bool = True, app: str = "web", **more) -> PodNetworking:
    network = PodNetwork(vswitch_ids=(B,), security_group_ids=(GROUP,), **more)
    return PodNetworking(
        name=name,
        network=network,
        pods=label("app", app) if app else None,
        is_ready=ready,
        zones={B: ZoneId("zone-b")},
    )


def select(pod=WEB, asked=Asked(), *known, settings=Settings(), namespace=None):  # noqa: B008
    return select_networks(
        pod,
        asked,
        namespace_labels=namespace or {},
        networkings=known,
        defaults=DEFAULTS,
        settings=settings,
    )


def test_a_pod_that_nothing_selects_has_no_network_of_its_own():
    assert select() is None
    assert select(WEB, Asked(), networking("red", app="db")) is None


def test_the_first_by_name_of_several_is_taken_and_told():
    chosen = select(WEB, Asked(), networking("red"), networking("blue"), networking("green"))

    assert chosen.networking == "blue"
    assert chosen.networks[0].interface == "eth0"
    assert "blue, green, red" in chosen.remarks[0]


def test_what_is_not_ready_selects_nobody():
    assert select(WEB, Asked(), networking("blue", ready=False), networking("red")).networking == (
        "red"
    )


def test_a_namespace_is_selected_too():
    one = PodNetworking(
        name="red", namespaces=label("team", "a"), is_ready=True, network=PodNetwork()
    )

    assert select(WEB, Asked(), one, namespace={"team": "a"}).networking == "red"
    assert select(WEB, Asked(), one, namespace={"team": "b"}) is None


@pytest.mark.parametrize(
    ("owners", "settings", "is_selected"),
    [
        ((), Settings(), True),
        (("StatefulSet",), Settings(), True),
        (("ReplicaSet",), Settings(), False),
        (("CloneSet",), Settings(fixed_kinds=frozenset({"StatefulSet", "CloneSet"})), True),
    ],
)
def test_a_fixed_network_selects_pods_whose_names_stay(owners, settings, is_selected):
    pod = PodFacts(labels={"app": "web"}, owner_kinds=owners)

    chosen = select(pod, Asked(), networking("red", lifetime=FIXED), settings=settings)

    assert (chosen is not None) is is_selected


def test_a_fixed_network_is_refused_to_a_pod_that_asks_for_it_and_changes_its_name():
    asked = Asked(networks=(PodNetwork(interface="eth0", lifetime=FIXED),))

    with pytest.raises(UsageError, match="ReplicaSet's, whose names do not stay") as caught:
        select(WEB, asked)

    assert caught.value.field.endswith("allocationType.type")


def test_what_is_not_said_comes_from_eni_config():
    asked = Asked(networks=(PodNetwork(interface="eth0"), PodNetwork(interface="eth1")))

    first, second = select(WEB, asked).networks

    assert (first.vswitch_ids, first.security_group_ids) == ((A,), (GROUP,))
    assert (first.resource_group_id, first.vswitch_choice) == ("rg-1", VSwitchChoice.ORDERED)
    assert (first.has_default_route, second.has_default_route) == (True, False)


def test_what_is_said_is_carried_through():
    wish = PodNetwork(
        interface="eth0",
        vswitch_ids=(B,),
        security_group_ids=(GROUP,),
        vswitch_choice=VSwitchChoice.MOST,
        resource_group_id="rg-own",
        has_default_route=True,
        eni=ENIOption.TRUNK,
    )

    assert select(WEB, Asked(networks=(wish,))).networks == (wish,)


def test_requests_take_their_networks_from_pod_networkings_without_selectors():
    asked = Asked(
        requests=(
            NetworkRequest(interface="eth0", networking="red"),
            NetworkRequest(interface="eth1", networking="blue", has_default_route=True),
        )
    )

    first, second = select(
        WEB, asked, networking("red", app=""), networking("blue", app="")
    ).networks

    assert (first.interface, first.vswitch_ids, first.has_default_route) == ("eth0", (B,), False)
    assert (second.interface, second.has_default_route) == ("eth1", True)


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ((), "no such PodNetworking"),
        ((networking("red", ready=False, app=""),), "not Ready"),
        ((networking("red"),), "by selectors"),
    ],
)
def test_a_request_for_what_cannot_be_had_is_refused(known, reason):
    asked = Asked(requests=(NetworkRequest(interface="eth0", networking="red"),))

    with pytest.raises(UsageError, match=reason) as caught:
        select(WEB, asked, *known)

    assert caught.value.field == "k8s.aliyun.com/pod-networks-request[0].network"


@pytest.mark.parametrize(
    "pod",
    [
        PodFacts(labels={"app": "web"}, is_host_network=True),
        PodFacts(labels={"app": "web", "k8s.aliyun.com/ignore-by-terway": "true"}),
        PodFacts(labels={"app": "web"}, has_containers=False),
    ],
)
def test_some_pods_are_none_of_ours(pod):
    assert select(pod, Asked(), networking("red")) is None


def test_a_pod_may_want_none():
    assert select(WEB, Asked(has_eni=False), networking("red")) is None


def test_a_pod_that_only_wants_an_eni_gets_the_default_network():
    assert select(WEB, Asked(has_eni=True)).networks[0].vswitch_ids == (A,)
    assert select(WEB, Asked(), settings=Settings(has_every_pod=True)).networks[0].interface == (
        "eth0"
    )


def test_a_fixed_address_stays_five_minutes_at_least():
    short = Lifetime(is_fixed=True, ttl_s=60.0)

    with pytest.raises(UsageError, match="5m at least"):
        select(PodFacts(), Asked(networks=(PodNetwork(interface="eth0", lifetime=short),)))
