"""Which addresses and families Services get, and what is refused in the real server's words."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.manifests import apply_manifests, bootstrap
from terway.lab.kubeapi.resources import SERVICE
from terway.lab.kubeapi.state import ClusterState
from tests.support.cluster import Clock

V4, V6 = "172.21.0.0/20", "fd00:21::/112"
DUAL = f"{V4},{V6}"
SELECTS = {"app": "web"}


def cluster(ranges: str = DUAL) -> ClusterState:
    state = ClusterState(clock=Clock(), rng=Random(1), service_cidr=ranges)
    bootstrap(state)  # takes the first address, for the API server
    return state


def service(name: str = "s", **spec: Any) -> dict[str, Any]:
    held = {"ports": [{"port": 80}], "selector": SELECTS, **spec}
    return {"metadata": {"name": name}, "spec": held}


def created(state: ClusterState, **spec: Any) -> dict[str, Any]:
    made: dict[str, Any] = state.create(SERVICE, service(**spec), "default").object["spec"]
    return made


def changed(state: ClusterState, **fields: Any) -> dict[str, Any]:
    """Change the service as a client that writes it back whole; None takes a field away."""
    held = state.get(SERVICE, "s", "default").object["spec"]
    spec = {name: value for name, value in {**held, **fields}.items() if value is not None}
    made: dict[str, Any] = state.update(SERVICE, "s", "default", service(**spec)).object["spec"]
    return made


def families(spec: dict[str, Any]) -> tuple[str, list[str], list[str]]:
    assert spec["clusterIP"] == spec["clusterIPs"][0]
    return spec["ipFamilyPolicy"], spec["ipFamilies"], spec["clusterIPs"]


@pytest.mark.parametrize(
    ("asked", "policy", "given", "addresses"),
    [
        ({}, "SingleStack", ["IPv4"], ["172.21.0.2"]),
        ({"ipFamilies": ["IPv6"]}, "SingleStack", ["IPv6"], ["fd00:21::1"]),
        (
            {"ipFamilyPolicy": "PreferDualStack"},
            "PreferDualStack",
            ["IPv4", "IPv6"],
            ["172.21.0.2", "fd00:21::1"],
        ),
        (
            {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]},
            "RequireDualStack",
            ["IPv6", "IPv4"],
            ["fd00:21::1", "172.21.0.2"],
        ),
        ({"clusterIP": "fd00:21::50"}, "SingleStack", ["IPv6"], ["fd00:21::50"]),
        (
            {"clusterIP": "172.21.1.1", "ipFamilyPolicy": "RequireDualStack"},
            "RequireDualStack",
            ["IPv4", "IPv6"],
            ["172.21.1.1", "fd00:21::1"],
        ),
        (
            {
                "clusterIP": "fd00:21::50",
                "clusterIPs": ["fd00:21::50", "172.21.1.1"],
                "ipFamilyPolicy": "PreferDualStack",
            },
            "PreferDualStack",
            ["IPv6", "IPv4"],
            ["fd00:21::50", "172.21.1.1"],
        ),
        ({"clusterIP": "None"}, "SingleStack", ["IPv4"], ["None"]),
        (
            {"clusterIP": "None", "ipFamilyPolicy": "PreferDualStack"},
            "PreferDualStack",
            ["IPv4", "IPv6"],
            ["None"],
        ),
        ({"clusterIP": "None", "selector": {}}, "RequireDualStack", ["IPv4", "IPv6"], ["None"]),
    ],
)
def test_a_service_of_a_dual_cluster_gets_what_it_asks_for(asked, policy, given, addresses):
    assert families(created(cluster(), **asked)) == (policy, given, addresses)


@pytest.mark.parametrize(("ranges", "family"), [(V4, "IPv4"), (V6, "IPv6")])
def test_in_a_cluster_of_one_family_who_prefers_two_gets_one(ranges, family):
    policy, given, addresses = families(created(cluster(ranges), ipFamilyPolicy="PreferDualStack"))

    assert (policy, given, len(addresses)) == ("PreferDualStack", [family], 1)


def test_the_first_range_is_of_the_family_that_services_have_by_default():
    assert families(created(cluster(f"{V6},{V4}"))) == ("SingleStack", ["IPv6"], ["fd00:21::2"])


def test_endpoints_by_hand_may_be_of_families_that_the_cluster_has_no_range_of():
    spec = created(cluster(V4), clusterIP="None", selector={}, ipFamilies=["IPv6"])

    assert spec["ipFamilies"] == ["IPv6", "IPv4"]


def test_an_external_name_has_no_addresses():
    spec = created(cluster(), type="ExternalName", externalName="example.com.")

    assert not {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} & spec.keys()


REQUIRES = {"ipFamilyPolicy": "RequireDualStack"}
MULTIPLE = "must be 'RequireDualStack' or 'PreferDualStack' when multiple"
POLICIES = '"PreferDualStack", "RequireDualStack", "SingleStack"'
UNREADABLE = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
FOREIGN = "the provided IP (1.1.1.1) is not in the valid range. The range of valid IPs is"


def two(first: str, second: str, **more: Any) -> dict[str, Any]:
    return {"clusterIP": first, "clusterIPs": [first, second], **more}


def refusal(name: str, value: str, why: str) -> str:
    return f"spec.{name}: Invalid value: {value}: {why}"


@pytest.mark.parametrize(
    ("ranges", "asked", "words"),
    [
        (
            V4,
            REQUIRES,
            refusal(
                "ipFamilyPolicy",
                '"RequireDualStack"',
                "this cluster is not configured for dual-stack services",
            ),
        ),
        (
            V4,
            {"ipFamilies": ["IPv6"]},
            refusal("ipFamilies[0]", '"IPv6"', "not configured on this cluster"),
        ),
        (
            V4,
            {"clusterIP": "fd::1"},
            refusal("clusterIPs[0]", '[]string{"fd::1"}', "IPv6 is not configured on this cluster"),
        ),
        (
            DUAL,
            {"ipFamilies": ["IPv4", "IPv6"]},
            refusal("ipFamilyPolicy", '"SingleStack"', f"{MULTIPLE} IP families are specified"),
        ),
        (
            DUAL,
            two("172.21.0.9", "fd00:21::9"),
            refusal("ipFamilyPolicy", '"SingleStack"', f"{MULTIPLE} cluster IPs are specified"),
        ),
        (
            DUAL,
            {"ipFamilyPolicy": "Both"},
            f'spec.ipFamilyPolicy: Unsupported value: "Both": supported values: {POLICIES}',
        ),
        (
            DUAL,
            {"ipFamilies": ["IPv4", "IPv4"], **REQUIRES},
            'spec.ipFamilies[1]: Duplicate value: "IPv4"',
        ),
        (
            DUAL,
            {"ipFamilies": ["IPv5"]},
            'spec.ipFamilies[0]: Unsupported value: "IPv5": supported values: "IPv4", "IPv6"',
        ),
        (
            DUAL,
            {"clusterIPs": ["172.21.0.9"]},
            refusal(
                "clusterIPs",
                '[]string{"172.21.0.9"}',
                "must be empty when `clusterIP` is not specified",
            ),
        ),
        (
            DUAL,
            {"clusterIP": "172.21.0.8", "clusterIPs": ["172.21.0.9"]},
            refusal("clusterIPs", '[]string{"172.21.0.9"}', "first value must match `clusterIP`"),
        ),
        (
            DUAL,
            two("None", "172.21.0.9", **REQUIRES),
            refusal(
                "clusterIPs",
                '[]string{"None", "172.21.0.9"}',
                "'None' must be the first and only value",
            ),
        ),
        (
            DUAL,
            two("172.21.0.9", "172.21.0.8", **REQUIRES),
            refusal(
                "clusterIPs",
                '[]string{"172.21.0.9", "172.21.0.8"}',
                "may specify no more than one IP for each IP family",
            ),
        ),
        (DUAL, {"clusterIP": "1.2.3"}, refusal("clusterIPs[0]", '"1.2.3"', UNREADABLE)),
        (
            DUAL,
            {"clusterIP": "172.21.0.9", "ipFamilies": ["IPv6"]},
            refusal(
                "clusterIPs[0]",
                '"172.21.0.9"',
                "expected an IPv6 value as indicated by `ipFamilies[0]`",
            ),
        ),
        (
            DUAL,
            {"clusterIP": "172.21.0.1"},
            refusal(
                "clusterIPs",
                '[]string{"172.21.0.1"}',
                "failed to allocate IP 172.21.0.1: provided IP is already allocated",
            ),
        ),
        (
            DUAL,
            {"clusterIP": "1.1.1.1"},
            refusal(
                "clusterIPs",
                '[]string{"1.1.1.1"}',
                f"failed to allocate IP 1.1.1.1: {FOREIGN} 172.21.0.0/20",
            ),
        ),
        (
            DUAL,
            {"type": "NodePort", "clusterIP": "None"},
            refusal("clusterIPs[0]", '"None"', "may not be set to 'None' for NodePort services"),
        ),
        (
            DUAL,
            {"type": "ExternalName", "externalName": "a.b", **REQUIRES},
            "spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services",
        ),
        (DUAL, {"type": "ExternalName"}, "spec.externalName: Required value"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(ranges, asked, words):
    with pytest.raises(ApiError) as caught:
        created(cluster(ranges), **asked)

    assert caught.value.code == 422
    assert caught.value.message == f'Service "s" is invalid: {words}'


def test_ends_of_a_range_are_nobodys():
    for end in ("172.21.0.0", "172.21.15.255", "fd00:21::"):
        with pytest.raises(ApiError, match="is not in the valid range"):
            created(cluster(), clusterIP=end)
    assert created(cluster(), clusterIP="fd00:21::ffff")["clusterIPs"] == ["fd00:21::ffff"]


def test_a_range_that_is_full_is_said_to_be():
    state = cluster("10.0.0.0/30")
    created(state)

    with pytest.raises(ApiError, match="failed to allocate a serviceIP: range is full") as caught:
        created(state, name="next")
    assert caught.value.code == 500


def test_addresses_of_a_service_that_is_gone_are_given_again():
    state = cluster()
    first = created(state, **REQUIRES)
    state.delete(SERVICE, "s", "default")

    assert created(state, **REQUIRES)["clusterIPs"] == first["clusterIPs"]


@pytest.mark.parametrize("lost", [("clusterIP", "clusterIPs"), ("clusterIPs",), ("ipFamilies",)])
def test_a_client_that_writes_back_less_than_it_was_given_changes_nothing(lost):
    """As clients do that build the object anew, or are older than these fields."""
    state = cluster()
    created(state, **REQUIRES)
    held = state.get(SERVICE, "s", "default")

    changed(state, **dict.fromkeys(lost))

    assert state.get(SERVICE, "s", "default") == held


def test_a_service_becomes_dual_and_single_again_and_keeps_its_first_address():
    state = cluster()
    first = created(state)["clusterIP"]

    both = changed(state, ipFamilyPolicy="PreferDualStack")
    assert families(both) == ("PreferDualStack", ["IPv4", "IPv6"], [first, "fd00:21::1"])

    one = changed(state, ipFamilyPolicy="SingleStack")
    assert families(one) == ("SingleStack", ["IPv4"], [first])
    assert created(state, name="next", ipFamilies=["IPv6"])["clusterIP"] == "fd00:21::1"


def test_a_patch_of_something_else_leaves_the_addresses():
    state = cluster()
    before = created(state, **REQUIRES)

    after = state.patch(SERVICE, "s", "default", {"spec": {"selector": {"app": "b"}}}).object

    assert families(after["spec"]) == families(before)


def test_a_service_that_becomes_an_external_name_gives_up_its_addresses_and_gets_new_ones():
    state = cluster()
    created(state, **REQUIRES)

    outside = changed(state, type="ExternalName", externalName="a.b")
    assert not {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} & outside.keys()

    back = changed(state, type="ClusterIP", externalName=None)
    assert families(back) == ("SingleStack", ["IPv4"], ["172.21.0.2"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"clusterIP": "172.21.0.9", "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]},
            refusal("clusterIPs[0]", '[]string{"172.21.0.9"}', "may not change once set"),
        ),
        (
            two("172.21.0.9", "fd00:21::1"),
            refusal(
                "clusterIPs[0]", '[]string{"172.21.0.9", "fd00:21::1"}', "may not change once set"
            ),
        ),
        (
            {"ipFamilies": ["IPv4"]},
            refusal(
                "ipFamilyPolicy",
                '"RequireDualStack"',
                "must be 'SingleStack' to release the secondary IP family",
            ),
        ),
        (
            {"clusterIPs": ["172.21.0.2"]},
            refusal(
                "ipFamilyPolicy",
                '"RequireDualStack"',
                "must be 'SingleStack' to release the secondary cluster IP",
            ),
        ),
    ],
)
def test_what_was_given_may_not_be_changed(change, words):
    state = cluster()
    created(state, **REQUIRES)

    with pytest.raises(ApiError) as caught:
        changed(state, **change)

    assert caught.value.message == f'Service "s" is invalid: {words}'


def test_manifests_may_be_applied_again():
    text = """
    apiVersion: v1
    kind: Service
    metadata: {name: s}
    spec: {ipFamilyPolicy: PreferDualStack, ports: [{port: 80}], selector: {app: web}}
    """
    state = cluster()

    (first,) = apply_manifests(state, text)
    (again,) = apply_manifests(state, text)

    assert families(again["spec"]) == families(first["spec"])
    assert len(first["spec"]["clusterIPs"]) == 2
