"""Reading cases, other families, SCTP's packets, and comparing answers."""

from __future__ import annotations

import gzip
import json
from ipaddress import ip_address, ip_network

import pytest

from terway.lab.policy import sctp
from terway.lab.policy.cases import Via, read_case, read_file
from terway.lab.policy.ends import Ends, Place, outside_of, places_of
from terway.lab.policy.families import in_family
from terway.lab.policy.tally import compare
from terway.model.address import Family
from terway.model.errors import UsageError

POD = {"ns": "x", "name": "a", "labels": {}, "ip": "10.0.0.1", "ports": []}
PROBE = {"from": "x/a", "to": "ip:203.0.113.7", "port": 80, "protocol": "TCP", "expect": "deny"}
CASE = {
    "name": "one",
    "namespaces": [],
    "pods": [POD, {**POD, "name": "b", "ip": "10.0.0.2", "terminating": True}],
    "policies": [],
    "probes": [PROBE],
}
BLOCK = {
    "kind": "NetworkPolicy",
    "spec": {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]},
}


@pytest.mark.parametrize("name", ["one.json", "many.jsonl", "many.jsonl.gz"])
def test_a_file_is_one_case_or_one_a_line_packed_or_not(tmp_path, name):
    text = json.dumps(CASE, indent=2 if name == "one.json" else None)
    text = text if name == "one.json" else f"{text}\n\n{text}\n"
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())

    cases = list(read_file(path))

    assert [one.case.name for one in cases] == ["one"] * (1 if name == "one.json" else 2)


def test_a_line_that_is_no_case_is_named(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text(f"{json.dumps(CASE)}\n[]\n")

    with pytest.raises(UsageError, match="case 2"):
        list(read_file(path))


def test_what_policy_does_not_read_is_kept_and_inherited_by_steps():
    steps = [{"label": "s", "probes": [PROBE]}, {"label": "t", "policies": [], "probes": []}]
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": "x"},
        "spec": {"podSelector": {}},
    }

    case = read_case({**CASE, "policies": [policy], "steps": steps, "probes": []})

    assert [len(state.manifests) for state in case.states] == [1, 0]
    assert [[key.name for key in state.terminating] for state in case.states] == [["b"], ["b"]]


def test_a_service_address_is_read_and_an_unknown_way_is_the_probes_error():
    ways = [{"vip": "172.21.0.10", "port": 53}, {"nodePort": "172.18.0.3:30080"}, {"mesh": 1}]
    probes = [{**PROBE, "port": 8000 + number, "via": way} for number, way in enumerate(ways)]

    (state,) = read_case({**CASE, "probes": probes}).states

    assert [*state.services.values()] == [
        Via(address=ip_address("172.21.0.10"), port=53),
        Via(address=ip_address("172.18.0.3"), port=30080),
    ]
    assert [flow.port for flow in state.troubles] == [8002]


def test_the_other_family_is_given_to_all_unless_policies_name_addresses():
    (state,) = read_case(CASE).states

    made = in_family(state.step.cluster, [], Family.V6)

    assert {len(pod.addresses) for pod in made.pods.values()} == {2}
    with pytest.raises(UsageError, match="--family 6"):
        in_family(state.step.cluster, [BLOCK], Family.V6)
    assert in_family(state.step.cluster, [BLOCK], Family.V4) == state.step.cluster


def test_an_address_that_nobody_outside_can_have_is_another_there():
    probes = [{**PROBE, "to": f"ip:{one}"} for one in ("0.0.0.1", "203.0.113.7", "192.168.1.1")]
    (state,) = read_case({**CASE, "probes": probes}).states
    vpc = ip_network("192.168.0.0/16")

    found = outside_of(state.step.flows(), {}, (vpc,))

    assert found[ip_address("203.0.113.7")] == ip_address("203.0.113.7")
    assert str(found[ip_address("0.0.0.1")]).startswith("198.18.")
    assert str(found[ip_address("192.168.1.1")]).startswith("198.18.")


def test_an_address_is_that_of_the_pod_that_has_it_now():
    gone = {**POD, "name": "old", "phase": "Succeeded"}
    (state,) = read_case({**CASE, "pods": [POD, gone]}).states
    places = {key: Place(netns=key.name, addresses=()) for key in state.step.cluster.pods}

    found = places_of(state.step.cluster, places, {})

    assert found[ip_address("10.0.0.1")].netns == "a"


def test_answers_are_compared_with_what_is_expected():
    case = read_case({**CASE, "probes": [PROBE, PROBE, {**PROBE, "expect": None}]})
    said = {"states": [{"verdicts": ["allow", "error: no", "deny"], "matrices": []}]}

    found = compare(case, said)

    assert (found.probes, len(found.differences), len(found.errors)) == (3, 1, 1)
    assert str(found.differences[0]) == "pod x/a -> 203.0.113.7 TCP 80: allow, expected deny"


def test_an_init_is_read_as_it_was_written_and_carries_the_checksum_of_the_rfc():
    init = sctp.Packet(source=33000, destination=80, tag=0, kind=sctp.INIT, own_tag=7)

    data = init.encode()

    assert sctp.decode(data) == init
    assert sctp.crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    assert data[8:12] == sctp.crc32c(data[:8] + bytes(4) + data[12:]).to_bytes(4, "little")
    assert sctp.decode(b"short") is None


@pytest.mark.parametrize(
    ("to", "via", "version"),
    [("x/b", None, 6), ("ip:203.0.113.7", None, 4), ("x/b", "172.21.0.10", 4)],
)
def test_the_family_asked_for_is_for_flows_whose_addresses_do_not_say(to, via, version):
    probe = {**PROBE, "to": to, **({"via": {"vip": via, "port": 53}} if via else {})}
    dual = [
        {**POD, "name": name, "ips": [f"10.0.0.{number}", f"fd00::{number}"]}
        for number, name in enumerate("ab", 1)
    ]
    (state,) = read_case({**CASE, "pods": dual, "probes": [probe]}).states
    (flow,) = state.step.flows()
    pods = {
        key: Place(netns=key.name, addresses=pod.addresses)
        for key, pod in state.step.cluster.pods.items()
    }
    ends = Ends(
        cluster=state.step.cluster,
        places=places_of(state.step.cluster, pods, {}),
        outside=outside_of([flow], {}, ()),
        outside_netns="outside",
        family=Family.V6,
    )

    attempt = ends.attempt(flow, state.services.get(flow))

    assert (attempt.source.version, attempt.dialled[0].version) == (version, version)
