"""The API server is told to fail closed for pods that ask for a network, and for no others."""

from __future__ import annotations

from terway.controlplane.hooks import ASKING, Place, mutating_hooks, validating_hooks

PLACE = Place(url="", name="terway-controlplane", namespace="kube-system")


def by_name(hooks):
    return {one["name"].partition(".")[0]: one for one in hooks}


def test_pods_that_ask_wait_for_us_and_others_do_not():
    found = by_name(mutating_hooks(PLACE, "pem", evaluates=True))

    assert found["asking"]["failurePolicy"] == "Fail"
    assert found["pods"]["failurePolicy"] == "Ignore"
    (asks,), (asks_not,) = (found[name]["matchConditions"] for name in ("asking", "pods"))
    assert asks_not["expression"] == f"!({asks['expression']})"
    assert all(f"'{name}'" in asks["expression"] for name in ASKING)


def test_a_server_without_conditions_holds_up_nobody():
    found = mutating_hooks(PLACE, "pem", evaluates=False)

    assert {one["failurePolicy"] for one in found} == {"Ignore"}
    assert not any("matchConditions" in one for one in found)


def test_a_namespace_can_opt_out_as_upstream_has_it():
    for one in mutating_hooks(PLACE, "pem", evaluates=True)[:2]:
        assert one["namespaceSelector"] == {
            "matchExpressions": [
                {"key": "k8s.aliyun.com/pod-eni", "operator": "NotIn", "values": ["false"]}
            ]
        }


def test_a_network_that_nobody_looked_at_is_not_made():
    (one,) = validating_hooks(PLACE, "pem")
    assert one["failurePolicy"] == "Fail"
    assert one["clientConfig"]["service"]["path"] == "/validate"


def test_we_are_found_by_a_url_where_there_is_one():
    place = Place(url="https://100.100.0.40:4443", name="x", namespace="y")
    (one,) = validating_hooks(place, "pem")

    assert one["clientConfig"]["url"] == "https://100.100.0.40:4443/validate"
    assert "service" not in one["clientConfig"]
