"""Cases are read as their form says, and answered in the form that goes with it."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from terway.model.address import Family
from terway.model.errors import UsageError
from terway.model.ids import NodeName
from terway.policy.cluster import NamedPort, Node, Pod, PodKey, Protocol
from terway.policy.evaluate import evaluate
from terway.policy.flow import AddressEnd, Flow, NodeEnd, PodEnd
from terway.policy.policies import BlockPeer, ClusterPolicy
from terway.policy.reading.cases import Decide, Step, answer_case, answer_step, parse_case

PODS = [
    {"ns": "x", "name": "a", "ip": "10.0.0.1", "labels": {"app": "a"}},
    {"ns": "x", "name": "b", "ip": "10.0.0.2"},
]
DENY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"namespace": "x", "name": "deny"},
    "spec": {"podSelector": {"matchLabels": {"app": "a"}}},
}
TO_A = {"from": "x/b", "to": "x/a", "port": 80, "protocol": "TCP"}
FROM_A = {"from": "x/a", "to": "x/b", "port": 80}
BASE: dict[str, Any] = {"name": "case", "pods": PODS, "policies": [DENY], "probes": [TO_A, FROM_A]}


def _by_model(step: Step) -> Decide:
    return lambda flow: evaluate(step.cluster, step.policies, flow).is_allowed


def _answers(**changes: Any) -> Any:
    return answer_case(parse_case(BASE | changes), _by_model)


def _flow(**changes: Any) -> Flow:
    (step,) = parse_case({"probes": [TO_A | changes]}).steps
    (flow,) = step.flows()
    return flow


def test_probes_are_answered_in_their_order():
    assert _answers() == {
        "name": "case",
        "states": [{"label": "", "verdicts": ["deny", "allow"], "matrices": []}],
    }


def test_a_matrix_without_pods_is_of_all_pods_in_the_order_of_the_cluster():
    of_all = _answers(probes=[], matrices=[{"port": 80, "protocol": "TCP"}])

    assert of_all["states"][0]["matrices"] == [["-.", "X-"]]
    assert of_all == _answers(probes=[], matrices=[{"port": 80, "pods": ["x/a", "x/b"]}])


def test_what_is_expected_is_kept_and_not_looked_at():
    (step,) = parse_case(BASE | {"probes": [TO_A | {"expect": "allow"}]}).steps

    assert step.probes[0].expected == "allow"
    assert answer_step(step, _by_model)["verdicts"] == ["deny"]


def test_steps_inherit_from_the_one_before():
    steps = [
        {"label": "first", "probes": [TO_A]},
        {"label": "none", "policies": [], "probes": [TO_A]},
        {"label": "still none", "pods": PODS, "probes": [TO_A]},
        {"label": "again", "policies": [DENY], "probes": [TO_A, FROM_A]},
    ]

    states = _answers(steps=steps)["states"]

    assert [(state["label"], state["verdicts"]) for state in states] == [
        ("first", ["deny"]),
        ("none", ["allow"]),
        ("still none", ["allow"]),
        ("again", ["deny", "allow"]),
    ]


def test_a_matrix_asks_for_all_but_what_is_marked():
    matrix = {"port": 80, "protocol": "TCP", "pods": ["x/a", "x/b"], "rows": ["..", "X-"]}

    (state,) = _answers(matrices=[matrix], probes=[])["states"]

    assert state["matrices"] == [["..", "X-"]]


def test_a_matrix_without_rows_asks_for_all_but_the_diagonal():
    matrix = {"port": 80, "pods": ["x/a", "x/b"]}

    (state,) = _answers(matrices=[matrix], probes=[])["states"]

    assert state["matrices"] == [["-.", "X-"]]


def test_a_matrix_knows_what_its_marks_expect():
    matrix = {"port": 80, "pods": ["x/a", "x/b"], "rows": ["-.", "X-"]}

    (step,) = parse_case(BASE | {"matrices": [matrix], "probes": []}).steps

    assert [probe.expected for probe in step.all_probes()] == ["allow", "deny"]


def test_errors_are_those_of_their_probe():
    probes = [
        {"from": "x/nobody", "to": "x/a", "port": 80},
        {"from": "x", "to": "x/a", "port": 80},
        {"from": "ip:10.0.0", "to": "x/a", "port": 80},
        {"from": "x/b", "to": "x/a", "port": 0},
        {"from": "x/b", "to": "x/a", "port": 80, "protocol": "XTP"},
        {"from": "x/b", "to": "x/a", "port": 80, "family": 5},
        TO_A,
    ]

    (state,) = _answers(probes=probes)["states"]

    *errors, last = state["verdicts"]
    assert all(error.startswith("error: ") for error in errors)
    assert "x/nobody" in errors[0]
    assert "probes[1].from is 'x'" in errors[1]
    assert last == "deny"


def test_a_cell_that_cannot_be_answered_is_a_question_mark():
    matrix = {"port": 80, "pods": ["x/a", "x/nobody"]}

    (state,) = _answers(matrices=[matrix], probes=[])["states"]

    assert state["matrices"] == [["-?", "?-"]]


def test_a_matrix_that_asks_nothing_sensible_is_question_marks():
    matrices = [{"port": 0, "pods": ["x/a", "x/b"]}, {"port": 80, "pods": ["x/a", "b"]}]

    (state,) = _answers(matrices=matrices, probes=[])["states"]

    assert state["matrices"] == [["-?", "?-"]] * 2


def test_a_policy_that_is_none_is_the_error_of_every_probe_of_its_step():
    steps = [{"policies": [{"kind": "Pod"}], "probes": [TO_A]}, {"policies": [], "probes": [TO_A]}]

    states = _answers(steps=steps)["states"]

    assert states[0]["verdicts"][0].startswith("error: kind is 'Pod'")
    assert states[1]["verdicts"] == ["allow"]


def test_who_cannot_decide_at_all_says_so_for_every_probe():
    def decider(step: Step) -> Decide:
        raise UsageError("no kernel here")

    (step,) = parse_case(BASE).steps

    assert answer_step(step, decider)["verdicts"] == ["error: no kernel here"] * 2


@pytest.mark.parametrize("raw", [[], "case", {"steps": {}}, {"probes": 5}, {"steps": [5]}])
def test_what_has_no_such_form_is_refused(raw):
    with pytest.raises(UsageError):
        parse_case(raw)


def test_rows_that_do_not_fit_their_pods_are_refused():
    matrix = {"port": 80, "pods": ["x/a", "x/b"], "rows": ["-.", "X-."]}

    with pytest.raises(UsageError, match="rows"):
        parse_case(BASE | {"matrices": [matrix]})


def test_ends_and_what_a_probe_adds_are_read():
    flow = _flow(**{"from": "node:n1", "to": "ip:fd00::1", "family": 6, "via": {"port": 8080}})

    assert flow == Flow(
        source=NodeEnd(node=NodeName("n1")),
        destination=AddressEnd(address=ip_address("fd00::1")),
        port=80,
        family=Family.V6,
        via_service=True,
    )


def test_a_pod_with_dots_in_its_name_is_a_pod():
    assert _flow(to="x/a.b.c").destination == PodEnd(pod=PodKey(namespace="x", name="a.b.c"))


def test_protocols_without_ports_need_none():
    (step,) = parse_case({"probes": [{"from": "x/a", "to": "x/b", "protocol": "icmp"}]}).steps
    (flow,) = step.flows()

    assert (flow.protocol, flow.port) == (Protocol.OTHER, 0)


def test_pods_and_nodes_have_what_the_form_gives_them():
    pod = {
        "ns": "x",
        "name": "a",
        "ips": ["10.0.0.1", "fd00::1"],
        "node": "n1",
        "hostNetwork": True,
        "phase": "Failed",
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "", "port": 81}],
    }
    node = {"name": "n1", "ips": ["192.168.0.1"], "labels": {"zone": "a"}}

    (step,) = parse_case({"pods": [pod], "nodes": [node]}).steps

    key = PodKey(namespace="x", name="a")
    assert step.cluster.pods[key] == Pod(
        key=key,
        addresses=(ip_address("10.0.0.1"), ip_address("fd00::1")),
        node=NodeName("n1"),
        ports=(NamedPort(name="http", protocol=Protocol.TCP, port=80),),
        is_host_network=True,
        is_finished=True,
    )
    assert list(step.cluster.nodes.values()) == [
        Node(name=NodeName("n1"), labels={"zone": "a"}, addresses=(ip_address("192.168.0.1"),))
    ]


def test_namespaces_have_their_name_as_a_label():
    (step,) = parse_case({"namespaces": [{"name": "x", "labels": {"team": "a"}}]}).steps

    labels = {"team": "a", "kubernetes.io/metadata.name": "x"}
    assert step.cluster.namespaces["x"].labels == labels


def test_a_domain_that_a_probe_resolved_is_known_to_the_policies_of_its_step():
    policy = {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "c"},
        "spec": {
            "tier": "Admin",
            "priority": 1,
            "subject": {"namespaces": {}},
            "egress": [{"action": "Accept", "to": [{"domainNames": ["a.example"]}]}],
        },
    }
    probe = {"from": "x/a", "to": "ip:203.0.113.9", "port": 443, "domain": "a.example"}

    (step,) = parse_case(BASE | {"policies": [policy], "probes": [TO_A, probe]}).steps

    (read,) = step.policies
    assert isinstance(read, ClusterPolicy)
    assert isinstance((read.egress[0].peers or ())[0], BlockPeer)
