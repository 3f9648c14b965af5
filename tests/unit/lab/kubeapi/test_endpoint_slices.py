"""The endpoints of Services: who is in which slice, and in which condition."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terway.lab.kubeapi.controllers.endpoints import endpoint_id
from terway.lab.kubeapi.controllers.endpointslices import plan_endpoint_slices
from terway.lab.kubeapi.controllers.runner import Runner, settle, with_slices_of
from terway.lab.kubeapi.controllers.slicing import plan_slices
from terway.lab.kubeapi.controllers.view import View
from terway.lab.kubeapi.deletion import DeleteOptions
from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.manifests import bootstrap
from terway.lab.kubeapi.objects import Object, labels_of
from terway.lab.kubeapi.resources import ENDPOINT_SLICE, ENDPOINTS, NODE, POD, SERVICE
from terway.lab.kubeapi.state import ClusterState
from tests.support.cluster import make_cluster, pod_manifest
from tests.support.paper_kubelet import add_node
from tests.support.services import (
    add_pod,
    create_service,
    endpoints_of,
    report_pod,
    slices_of,
)

DUAL = ("192.168.32.9", "2001:db8::9")


@pytest.fixture
def state() -> ClusterState:
    cluster = make_cluster()
    for name in ("n1", "n2"):
        add_node(cluster, name)
        zone = {"metadata": {"labels": {"topology.kubernetes.io/zone": f"zone-{name}"}}}
        cluster.patch(NODE, name, "", zone)
    return cluster


def conditions(state: ClusterState, pod: str = "a") -> Any:
    settle(state)
    return endpoints_of(state)[pod]["conditions"]


def test_a_services_pods_are_its_endpoints(state):
    create_service(state)
    pod = add_pod(state, "a")
    add_pod(state, "other", app="else")
    settle(state)

    (held,) = slices_of(state)

    assert held["addressType"] == "IPv4"
    assert held["ports"] == [{"name": "", "port": 80, "protocol": "TCP"}]
    assert held["endpoints"] == [
        {
            "addresses": ["192.168.32.9"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": "n1",
            "zone": "zone-n1",
            "targetRef": {
                "kind": "Pod",
                "namespace": "default",
                "name": "a",
                "uid": pod["metadata"]["uid"],
            },
        }
    ]
    assert labels_of(held) == {
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }


def test_a_service_without_pods_has_one_empty_slice(state):
    create_service(state)
    settle(state)

    (held,) = slices_of(state)

    assert held["endpoints"] == held["ports"] == []


def test_a_pod_that_is_not_ready_is_an_endpoint_that_is_not(state):
    create_service(state)
    add_pod(state, "a", ready=False)

    assert conditions(state) == {"ready": False, "serving": False, "terminating": False}


def test_a_pod_that_goes_away_serves_on_until_it_is_gone(state):
    create_service(state)
    add_pod(state, "a")

    state.delete(POD, "a", "default")
    assert conditions(state) == {"ready": False, "serving": True, "terminating": True}
    report_pod(state, "a", ready=False)
    assert conditions(state) == {"ready": False, "serving": False, "terminating": True}


def test_a_service_that_publishes_all_has_ready_endpoints_only(state):
    create_service(state, publishNotReadyAddresses=True)
    add_pod(state, "a", ready=False)

    assert conditions(state) == {"ready": True, "serving": False, "terminating": False}


def test_pods_that_ended_or_have_no_address_are_no_endpoints(state):
    create_service(state)
    add_pod(state, "a")
    add_pod(state, "ended")
    report_pod(state, "ended", phase="Succeeded")
    state.create(POD, pod_manifest("new", app="web"))
    settle(state)

    assert set(endpoints_of(state)) == {"a"}


def test_a_pod_of_a_node_that_is_gone_is_no_endpoint(state):
    create_service(state)
    add_pod(state, "a", node="nowhere")
    settle(state)

    assert endpoints_of(state) == {}


def test_a_target_port_by_name_is_each_pods_own_number(state):
    create_service(state, ports=[{"name": "web", "port": 80, "targetPort": "http",
                                  "appProtocol": "h2c"}])  # fmt: skip
    for name, number in (("a", 8080), ("b", 8081), ("c", 8081)):
        add_pod(state, name, ports=({"name": "http", "containerPort": number},))
    settle(state)

    found = {one["ports"][0]["port"]: {end["targetRef"]["name"] for end in one["endpoints"]}
             for one in slices_of(state)}  # fmt: skip

    assert found == {8080: {"a"}, 8081: {"b", "c"}}
    assert slices_of(state)[0]["ports"][0]["appProtocol"] == "h2c"


def test_each_family_has_slices_of_its_own(state):
    create_service(state, ipFamilyPolicy="RequireDualStack")
    state.patch(SERVICE, "web", "default", {"metadata": {"labels": {"team": "a"}}})
    add_pod(state, "a", ips=DUAL)
    settle(state)

    found = {one["addressType"]: one["endpoints"][0]["addresses"] for one in slices_of(state)}

    assert found == {"IPv4": [DUAL[0]], "IPv6": [DUAL[1]]}
    assert {labels_of(one).get("team") for one in slices_of(state)} == {"a"}


def test_slices_hold_no_more_than_the_limit(state):
    create_service(state)
    for number in range(7):
        add_pod(state, f"p{number}", ips=(f"192.168.32.{number + 1}",))
    settle(state, with_slices_of(3))

    assert sorted(len(one["endpoints"]) for one in slices_of(state)) == [1, 3, 3]
    assert len(endpoints_of(state)) == 7


@pytest.mark.parametrize(
    ("wish", "hints"),
    [
        ("PreferClose", {"forZones": [{"name": "zone-n1"}]}),
        ("PreferSameZone", {"forZones": [{"name": "zone-n1"}]}),
        ("PreferSameNode", {"forZones": [{"name": "zone-n1"}], "forNodes": [{"name": "n1"}]}),
        (None, None),
    ],
)
def test_hints_say_for_whom_an_endpoint_is_near(state, wish, hints):
    create_service(state, trafficDistribution=wish)
    add_pod(state, "a")
    add_pod(state, "unready", ready=False)
    settle(state)

    found = endpoints_of(state)

    assert found["a"].get("hints") == hints
    assert "hints" not in found["unready"]


def test_slices_of_services_without_selector_are_their_writers(state):
    create_service(state, selector=None)
    mine = {
        "metadata": {"name": "mine", "namespace": "default",
                     "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.168.32.1"]}],
        "ports": [{"port": 80}],
    }  # fmt: skip
    state.create(ENDPOINT_SLICE, mine)
    settle(state)

    assert [one["metadata"]["name"] for one in slices_of(state)] == ["mine"]


def test_slices_go_with_their_service(state):
    create_service(state)
    add_pod(state, "a")
    settle(state)

    state.delete(SERVICE, "web", "default")
    settle(state)

    assert slices_of(state) == []


def test_a_headless_services_slices_say_so(state):
    create_service(state, clusterIP="None")
    settle(state)

    assert labels_of(slices_of(state)[0])["service.kubernetes.io/headless"] == ""


# Slicing


def endpoint(number: int, *, ready: bool = True) -> Object:
    return {"addresses": [f"10.0.0.{number}"], "conditions": {"ready": ready}}


def by_id(endpoints: list[Object]) -> dict[str, Object]:
    return {endpoint_id(one): one for one in endpoints}


def test_a_change_of_one_endpoint_writes_one_slice():
    held = [{"endpoints": [endpoint(1), endpoint(2)]}, {"endpoints": [endpoint(3)]}]
    wanted = by_id([endpoint(1), endpoint(2, ready=False), endpoint(3)])

    slicing = plan_slices(wanted, held, limit=2, keeps_one=False)

    assert not slicing.created
    assert not slicing.deleted
    assert slicing.changed == ((held[0], [endpoint(1), endpoint(2, ready=False)]),)


@settings(max_examples=200)
@given(
    slices=st.lists(st.lists(st.integers(1, 30), max_size=4, unique=True), max_size=4),
    wanted=st.sets(st.integers(1, 30)),
    limit=st.integers(1, 5),
)
def test_slices_hold_exactly_what_is_wanted_however_they_began(slices, wanted, limit):
    seen: set[int] = set()
    held = []
    for one in slices:
        fresh = [number for number in one[:limit] if number not in seen]
        held.append({"endpoints": [endpoint(number) for number in fresh]})
        seen |= set(fresh)
    wish = by_id([endpoint(number) for number in wanted])

    slicing = plan_slices(wish, held, limit=limit, keeps_one=not wish)

    changed = {id(one): endpoints for one, endpoints in slicing.changed}
    gone = {id(one) for one in slicing.deleted}
    after = [changed.get(id(one), one["endpoints"]) for one in held if id(one) not in gone]
    after += list(slicing.created)
    assert all(len(one) <= limit for one in after)
    assert sorted(one["addresses"][0] for part in after for one in part) == sorted(
        one["addresses"][0] for one in wish.values()
    )
    assert len(after) >= 1
    assert sum(not one for one in after) == (0 if wish else 1)


# Looking at what has changed only

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["pod", "unready", "end", "service", "retarget", "zone", "drop", "steal"]),
        st.integers(0, 2),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_who_looks_at_changes_only_leaves_nothing_for_who_looks_at_all(steps):
    state = make_cluster()
    add_node(state, "n1")
    runner = Runner(state)
    state.store.on_change(runner.on_change)
    for what, number in steps:
        with suppress(ApiError):  # of what is there already, or is not
            do(state, what, number)
        while runner.look():
            pass

    assert list(plan_endpoint_slices(View(state))) == []


def do(state: ClusterState, what: str, number: int) -> None:
    match what:
        case "pod":
            add_pod(state, f"p{number}", ips=(f"192.168.32.{number + 1}",))
        case "unready":
            report_pod(state, f"p{number}", ready=False)
        case "end":
            state.delete(POD, f"p{number}", "default", DeleteOptions(grace_s=0))
        case "service":
            create_service(state, f"s{number}")
        case "retarget":
            ports = {"spec": {"ports": [{"port": 80, "targetPort": 8000 + number}]}}
            state.patch(SERVICE, "s0", "default", ports)
        case "zone":
            zone = {"topology.kubernetes.io/zone": f"z{number}"}
            state.patch(NODE, "n1", "", {"metadata": {"labels": zone}})
        case "drop":
            state.delete(SERVICE, f"s{number}", "default")
        case _:  # steal
            for held in slices_of(state, "s0"):
                state.delete(ENDPOINT_SLICE, held["metadata"]["name"], "default")


def test_a_slice_of_a_service_that_is_not_there_goes(state):
    owner = {"apiVersion": "v1", "kind": "Service", "name": "gone", "uid": "u"}
    meta = {"name": "lost", "namespace": "default", "ownerReferences": [owner]}
    runner = Runner(state)
    state.store.on_change(runner.on_change)
    while runner.look():
        pass

    state.create(ENDPOINT_SLICE, {"metadata": meta, "addressType": "IPv4", "endpoints": []})
    while runner.look():
        pass

    assert state.find(ENDPOINT_SLICE, "lost", "default") is None


def test_the_api_servers_own_slice_is_its_own_to_write():
    state = make_cluster()
    bootstrap(state, api_server=("100.100.0.20", 6443))
    settle(state)

    (held,) = slices_of(state, "kubernetes")

    assert held["endpoints"][0]["addresses"] == ["100.100.0.20"]
    assert held["ports"] == [{"name": "https", "port": 6443, "protocol": "TCP"}]


# Endpoints, for older clients


def subsets(state: ClusterState) -> Any:
    settle(state)
    return state.get(ENDPOINTS, "web", "default").object["subsets"]


def test_endpoints_say_what_slices_say_without_pods_that_go_away(state):
    create_service(state)
    add_pod(state, "a")
    add_pod(state, "b", ips=("192.168.32.10",), ready=False)
    add_pod(state, "c", ips=("192.168.32.11",))
    state.delete(POD, "c", "default")

    (held,) = subsets(state)

    assert [one["ip"] for one in held["addresses"]] == ["192.168.32.9"]
    assert [one["ip"] for one in held["notReadyAddresses"]] == ["192.168.32.10"]
    assert held["ports"] == [{"name": "", "port": 80, "protocol": "TCP"}]
    assert held["addresses"][0]["nodeName"] == "n1"


def test_endpoints_come_and_go_with_their_service(state):
    create_service(state)
    assert subsets(state) == []

    state.delete(SERVICE, "web", "default")
    settle(state)

    assert state.find(ENDPOINTS, "web", "default") is None


def test_endpoints_that_somebody_else_wrote_are_left_alone(state):
    meta = {"name": "web", "namespace": "default"}
    mine = [{"addresses": [{"ip": "10.1.1.1"}], "ports": [{"port": 1}]}]
    state.create(ENDPOINTS, {"metadata": meta, "subsets": mine})
    create_service(state)
    add_pod(state, "a")

    assert subsets(state) == mine
