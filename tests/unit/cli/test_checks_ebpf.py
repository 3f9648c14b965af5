"""What doctor finds of the eBPF data path, and that it finds nothing where all is well."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terway.cli.checks_ebpf import check_datapath
from terway.cli.finding import Finding, Severity
from terway.cli.show import show_lines
from terway.cli.snapshot import AgentView, HostView, KubeService, KubeView, Snapshot
from terway.cli.snapshot_ebpf import EndpointView, LocalView, LossView, MapView
from terway.model.endpoint import EndpointNumber
from tests.support.datapath_snapshot import (
    LINKS,
    datapath,
    endpoint,
    hook,
    number_of,
    with_children,
    with_datapath,
)
from tests.support.snapshots import NEAR, PODS, A, healthy

STRANGER = EndpointNumber(99)


def found(snapshot: Snapshot) -> list[Finding]:
    return list(check_datapath(snapshot))


def with_host(snapshot: Snapshot, *programs: str) -> Snapshot:
    return replace(snapshot, host=HostView(kernel_release="6.18", features={}, programs=programs))


@pytest.mark.parametrize(
    "snapshot", [healthy(), with_datapath(), with_children()], ids=["without", "with", "ipvlan"]
)
def test_a_node_that_is_well_has_no_finding(snapshot):
    assert found(snapshot) == []


def test_what_the_node_lacks_of_what_was_asked_is_told_with_the_reason():
    agent = AgentView(
        is_ready=True, asked_mode="ipvlan", mode="veth", lacks="the kernel lacks bpf_redirect_peer"
    )
    (one,) = found(replace(healthy(), agent=agent))

    assert one.what == (
        "the node cannot have eniip_virtual_type ipvlan: pods have veth, by policy routing"
    )
    assert one.why == "the kernel lacks bpf_redirect_peer"


def test_without_the_data_path_that_was_asked_for_somebody_else_must_lead_to_services():
    agent = AgentView(is_ready=True, asked_mode="datapathv2", mode="veth", lacks="no BPF here")
    kube = KubeView(services=(KubeService(namespace="a", name="b", cluster_ips=(), ports=()),))
    fallen = replace(healthy(), agent=agent, kubernetes=kube)

    assert [one.what for one in found(with_host(fallen))][1:] == ["nobody translates services"]
    assert len(found(with_host(fallen, "kube-proxy"))) == 1


def test_show_says_what_the_data_path_does_and_what_its_maps_take():
    lines = show_lines(with_datapath(does_policy=True))

    assert "data path  eBPF with services and policies" in lines
    assert "           2 endpoints, maps 1 MB, 0 packets lost" in lines


def test_a_map_that_is_full_is_an_error_and_one_that_forgets_is_not():
    full = MapView(name="backends", max_entries=10, memory_bytes=0, entries=10)
    nearly = replace(full, name="sets", entries=9)
    (first, second) = found(with_datapath(maps=(*datapath().maps, full, nearly)))

    assert first.what == "map backends has 10 of 10 entries: it is full"
    assert (first.severity, second.severity) == (Severity.ERROR, Severity.WARNING)


def test_a_pod_without_endpoint_is_named():
    (one,) = found(with_datapath(endpoints=(endpoint("a"),)))

    assert one.what == "pod default/near has no endpoint in the data path"


def test_an_endpoint_without_pod_is_named():
    gone = endpoint("a").endpoint
    stray = EndpointView(endpoint=replace(gone, number=STRANGER), link=LINKS["a"])
    view = datapath()
    links = tuple((link, number) for link, number in view.links)
    (one,) = found(with_datapath(endpoints=(*view.endpoints, stray), links=links))

    assert one.what == "endpoint 99 (192.168.32.11) of the data path is of no pod"


def test_an_address_that_is_led_to_another_is_named():
    wrong = (
        LocalView(address=A, endpoint=number_of("near")),
        LocalView(address=NEAR, endpoint=None),
    )
    whats = [one.what for one in found(with_datapath(locals=wrong))]

    assert whats == [
        f"the data path leads {A} of pod default/a to endpoint {number_of('near')}",
        f"the data path leads {NEAR} of pod default/near to the node itself",
    ]


def test_a_link_whose_owner_nobody_told_is_named_with_what_it_costs():
    whats = {one.what: one.why for one in found(with_datapath(links=((5, number_of("near")),)))}

    assert whats == {
        "the link of pod default/a (number 4) is not known to be its": (
            "everything that the pod sends is dropped"
        ),
        f"{datapath().hooks[0].device} has programs of the data path and belongs to no endpoint": (
            "everything that comes from it is dropped"
        ),
    }


def test_a_program_that_is_missing_is_named():
    hooks = tuple(one for one in datapath().hooks if one.program != "to_pod")
    whats = [one.what for one in found(with_datapath(hooks=hooks))]

    assert whats == [
        f"link 4 of endpoint {A} lacks program to_pod",
        f"link 5 of endpoint {NEAR} lacks program to_pod",
    ]


def test_a_program_that_a_pod_has_taken_from_its_own_device_is_named():
    ebpf = with_children().ebpf
    assert ebpf is not None
    hooks = tuple(
        one for one in ebpf.hooks if (one.pod, one.program) != (PODS["a"].key, "out_of_pod")
    )
    (one,) = found(with_children(hooks=hooks))

    assert one.what == "eth0 inside pod default/a lacks program out_of_pod"


def test_a_program_that_an_earlier_terwayd_left_is_named():
    old = replace(hook("cali0", 4, "ingress", "from_pod"), number=9, tag="older")
    (one,) = found(with_datapath(hooks=(*datapath().hooks, old)))

    assert one.what.startswith("cali0 has an older program from_pod than ")


def test_losses_that_nobody_wants_are_told_and_those_of_policies_are_not():
    def lost(reason: str) -> LossView:
        return LossView(endpoint=1, reason=reason, meaning="", packets=2000, bytes=0)

    (one,) = found(with_datapath(losses=(lost("policy-egress"), lost("table-full"))))

    assert one.what == "the data path has lost 2,000 packets (table-full)"


def test_a_packet_of_a_pod_that_has_just_gone_is_no_alarm_and_calls_for_no_restart():
    lost = LossView(endpoint=0, reason="unknown-pod", meaning="", packets=1, bytes=0)
    (one,) = found(with_datapath(losses=(lost,)))

    assert one.severity is Severity.NOTE
    assert one.what == "the data path has lost 1 packet (unknown-pod)"
    assert "restart" not in one.command


def test_programs_at_a_link_whose_endpoint_has_gone_are_an_error():
    left = hook("cali0", 9, "ingress", "from_pod")
    seen = datapath()
    links = (*seen.links, (9, EndpointNumber(999)))
    (one,) = found(with_datapath(links=links, hooks=(*seen.hooks, left)))

    assert one.what == "cali0 has programs of the data path and belongs to no endpoint"


def test_a_data_path_that_does_not_know_its_uplink_is_an_error():
    (one,) = found(with_datapath(node=None))

    assert one.severity is Severity.ERROR


def test_a_node_whose_sockets_cannot_be_helped_is_warned_of():
    (one,) = found(with_host(with_datapath(lacks_sockets=True)))

    assert one.severity is Severity.WARNING
    assert one.what == "the node's processes reach services by its uplink only"


def test_kube_proxy_beside_our_services_is_a_note_and_neither_is_an_error():
    (beside,) = found(with_host(with_datapath(), "kube-proxy"))
    service = KubeService(namespace="a", name="b", cluster_ips=(), ports=())
    without = replace(with_datapath(does_services=False), kubernetes=KubeView(services=(service,)))
    (neither,) = found(with_host(without))

    assert beside.severity is Severity.NOTE
    assert neither.what == "nobody translates services"
    assert found(with_host(without, "kube-proxy")) == []


def _with_eni_as(ifindex: int | None) -> Snapshot:
    """Return a node whose pods' ENI is another link by now, or away."""
    snapshot = with_datapath()
    assert snapshot.kernel is not None
    (eni,) = {one.endpoint.eni for one in datapath().endpoints}
    others = tuple(one for one in snapshot.kernel.node.links if one.ifindex != eni)
    (link,) = set(snapshot.kernel.node.links) - set(others)
    links = others if ifindex is None else (*others, replace(link, ifindex=ifindex))
    node = replace(snapshot.kernel.node, links=links)
    return replace(snapshot, kernel=replace(snapshot.kernel, node=node))


def test_an_eni_that_is_away_is_no_finding_of_the_data_path():
    assert found(_with_eni_as(None)) == []


def test_a_pod_that_is_led_to_the_number_that_its_eni_had_is_named():
    one, *_ = found(_with_eni_as(77))

    assert one.severity is Severity.ERROR
    assert one.why == "the ENI is link 77 by now: what the pod sends out of the node is lost"
