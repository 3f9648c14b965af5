"""The API server is told to fail closed for pods that have a network, and asks about no others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from terway.controlplane.entries import ASKING, Place, mutating_hooks, validating_hooks
from terway.lab.kubeapi.cel.program import compile_program
from terway.model.pod_network import FOR_EVER, PodNetwork, PodNetworking
from terway.model.selector import Operator, Requirement, Selector
from terway.podeni.settings import Settings

PLACE = Place(url="", name="terway-controlplane", namespace="kube-system")


def selector(key: str, *values: str) -> Selector:
    held = Requirement(key=key, operator=Operator.IN, values=frozenset(values))
    return Selector(requirements=frozenset((held,)))


WEB = PodNetworking(
    name="web", pods=selector("app", "web", "api"), namespaces=selector("team", "shop")
)


def hooks(*networkings: PodNetworking, **settings: Any) -> list[dict[str, Any]]:
    return mutating_hooks(
        PLACE, "pem", networkings=networkings, settings=Settings(**settings), evaluates=True
    )


def by_name(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["name"].partition(".")[0]: one for one in found}


def meets(hook: dict[str, Any], **metadata: Any) -> bool:
    """Say whether the conditions of an entry are met by a pod."""
    host = metadata.pop("host", None)
    pod = {"metadata": metadata, "spec": {} if host is None else {"hostNetwork": host}}
    return all(
        compile_program(one["expression"], frozenset({"object"})).evaluate({"object": pod})
        for one in hook["matchConditions"]
    )


def saying(**annotations: str) -> dict[str, Any]:
    named = {f"k8s.aliyun.com/{one.replace('_', '-')}": text for one, text in annotations.items()}
    return {"annotations": named}


def test_nobody_is_asked_about_a_pod_that_no_network_is_for():
    found = hooks()

    assert list(by_name(found)) == ["pod-asks-for-a-network", "own-pods", "podnetworkings"]


def test_pods_that_ask_wait_for_us():
    asking = by_name(hooks())["pod-asks-for-a-network"]

    assert asking["failurePolicy"] == "Fail"
    assert all(meets(asking, annotations={name: "x"}) for name in ASKING)
    assert not meets(asking)
    assert not meets(asking, annotations={"other": "x"})
    assert not meets(asking, **saying(pod_eni="false", pod_networks=""))
    assert not meets(asking, **saying(pod_eni="true"), host=True)
    assert meets(asking, **saying(pod_eni="true"), host=False)


def test_pods_that_a_network_selects_wait_for_us_by_its_own_selectors():
    found = by_name(hooks(WEB))["podnetworking-web-selects-pod"]

    assert found["failurePolicy"] == "Fail"
    assert found["objectSelector"]["matchExpressions"] == [
        {"key": "app", "operator": "In", "values": ["api", "web"]},
        {"key": "k8s.aliyun.com/ignore-by-terway", "operator": "NotIn", "values": ["true"]},
    ]
    assert found["namespaceSelector"]["matchExpressions"] == [
        {"key": "team", "operator": "In", "values": ["shop"]},
        {"key": "k8s.aliyun.com/pod-eni", "operator": "NotIn", "values": ["false"]},
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]},
    ]
    assert meets(found)
    assert not meets(found, **saying(pod_eni="true")), "that is another entry's"
    assert not meets(found, **saying(pod_eni="false"))
    assert not meets(found, host=True)


@pytest.mark.parametrize(
    ("owners", "kinds", "is_held"),
    [
        ((), {"StatefulSet"}, True),
        (("StatefulSet",), {"StatefulSet"}, True),
        (("ReplicaSet",), {"StatefulSet"}, False),
        (("CloneSet",), {"StatefulSet", "CloneSet"}, True),
    ],
)
def test_a_fixed_network_holds_up_pods_whose_names_stay(owners, kinds, is_held):
    fixed = PodNetworking(
        name="db", network=PodNetwork(lifetime=FOR_EVER), pods=selector("app", "db")
    )
    found = by_name(hooks(fixed, fixed_kinds=frozenset(kinds)))["podnetworking-db-selects-pod"]
    listed = [{"kind": one, "name": "o"} for one in owners]

    assert meets(found, **({"ownerReferences": listed} if listed else {})) is is_held


def test_a_network_without_selectors_selects_nobody():
    assert hooks(PodNetworking(name="by-name")) == hooks()


def test_pods_that_bring_the_control_plane_back_wait_for_nobody():
    found = by_name(hooks())["own-pods"]

    assert (found["failurePolicy"], found["timeoutSeconds"]) == ("Ignore", 2)
    wanted = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["kube-system"]}
    assert wanted in found["namespaceSelector"]["matchExpressions"]


def test_where_every_pod_has_an_eni_all_are_seen_and_few_wait():
    found = by_name(hooks(has_every_pod=True))["pods"]

    assert (found["failurePolicy"], found["timeoutSeconds"]) == ("Ignore", 2)
    assert meets(found)
    assert not meets(found, **saying(pod_eni="true"))


def test_a_long_name_makes_a_name_that_an_entry_may_have():
    names = [f"{'n' * 240}{number}" for number in range(2)]
    found = hooks(*(PodNetworking(name=name, pods=selector("a", "b")) for name in names))

    assert len({one["name"] for one in found}) == len(found)
    assert all(len(one["name"]) <= 253 for one in found)


def test_a_server_without_conditions_holds_up_nobody():
    found = mutating_hooks(PLACE, "pem", networkings=(WEB,), settings=Settings(), evaluates=False)

    assert {one["failurePolicy"] for one in found} == {"Ignore"}
    assert list(by_name(found)) == ["pods", "podnetworkings"]


def test_a_namespace_can_opt_out_as_upstream_has_it():
    wanted = {"key": "k8s.aliyun.com/pod-eni", "operator": "NotIn", "values": ["false"]}
    for one in hooks(WEB, has_every_pod=True)[:-1]:
        assert wanted in one["namespaceSelector"]["matchExpressions"]


def test_a_network_that_nobody_looked_at_is_not_made_or_changed():
    (one,) = validating_hooks(PLACE, "pem")
    assert one["failurePolicy"] == "Fail"
    assert one["rules"][0]["operations"] == ["CREATE", "UPDATE"]
    assert one["clientConfig"]["service"]["path"] == "/validate"


def test_we_are_found_by_a_url_where_there_is_one():
    place = Place(url="https://100.100.0.40:4443", name="x", namespace="y")
    (one,) = validating_hooks(place, "pem")

    assert one["clientConfig"]["url"] == "https://100.100.0.40:4443/validate"
    assert "service" not in one["clientConfig"]


@pytest.mark.parametrize("evaluates", [True, False])
def test_pods_that_are_to_have_gates_wait_for_us_and_our_own_do_not(evaluates: bool) -> None:
    place = Place(url="https://c", name="c", namespace="kube-system", has_balancers=True)
    plain = replace(place, has_balancers=False)
    settings = Settings()

    found = mutating_hooks(place, "CA", settings=settings, evaluates=evaluates)
    others = mutating_hooks(plain, "CA", settings=settings, evaluates=evaluates)

    added = found[len(others) :]
    assert found[: len(others)] == others
    # Without conditions nobody can tell who has a gate by hand, and all would be shown.
    by_name = {one["name"].split(".")[0]: one for one in added}
    by_label = ["pods-with-gates", "own-pods-with-gates"]
    assert list(by_name) == ([*by_label, "gates-by-hand"] if evaluates else by_label)
    assert by_name.pop("own-pods-with-gates")["failurePolicy"] == "Ignore"
    ours = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}
    for one in by_name.values():
        assert one["failurePolicy"] == "Fail"
        assert ours in one["namespaceSelector"]["matchExpressions"]
    assert {one["clientConfig"]["url"] for one in added} == {"https://c/balanced"}


@pytest.mark.parametrize("evaluates", [True, False])
@pytest.mark.parametrize("has_every_pod", [True, False])
@pytest.mark.parametrize("has_balancers", [True, False])
def test_who_is_let_in_without_us_waits_two_seconds_and_who_is_not_waits_ten(
    evaluates, has_every_pod, has_balancers
):
    """An answer takes milliseconds: a longer wait for what is let in anyway holds up the API."""
    place = replace(PLACE, has_balancers=has_balancers)
    found = [
        *mutating_hooks(
            place,
            "pem",
            networkings=[WEB],
            settings=Settings(has_every_pod=has_every_pod),
            evaluates=evaluates,
        ),
        *validating_hooks(place, "pem"),
    ]

    waits = {(one["failurePolicy"], one["timeoutSeconds"]) for one in found}

    assert waits == {("Ignore", 2), ("Fail", 10)}
