"""Who else configures links, what terwayd told, and what a connectivity test tries of services."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Address, ip_interface

import pytest

from terway.cli.checks_others import check_others
from terway.cli.events import event_lines, told_by
from terway.cli.matrix_plan import service_trials
from terway.cli.probe import attempt
from terway.cli.snapshot import HostView, KubeNode, KubeService, Snapshot
from terway.cli.table import WIDTH
from terway.kube.types import Event, EventSource, ObjectMeta, ObjectReference
from terway.model.ids import NodeName
from terway.model.network import LinkAddress
from tests.support.snapshots import FAR, healthy, route

HOST = HostView(kernel_release="6.1", features={})
OWN = "test/servers"


def found_of(**changes: object) -> list[tuple[str, str]]:
    there = replace(healthy(), host=replace(HOST, **changes))  # type: ignore[arg-type]
    return [(one.what, one.command) for one in check_others(there)]


@pytest.mark.parametrize(
    ("changes", "what", "command"),
    [
        (
            {"files": ("/etc/systemd/system/multi-user.target.wants/eni.service",)},
            "eni.service runs",
            "systemctl disable --now eni.service",
        ),
        (
            {"files": ("/usr/lib/udev/rules.d/60-net.rules",)},
            "udev rule /usr/lib/udev/rules.d/60-net.rules",
            "ln -sf /dev/null /etc/udev/rules.d/60-net.rules",
        ),
        (
            {"texts": {"/etc/cloud/cloud.cfg.d/9.cfg": "when: [boot, hotplug]"}},
            "/etc/cloud/cloud.cfg.d/9.cfg asks for hotplug",
            "sed -i",
        ),
        (
            {"texts": {"/etc/systemd/network/9.link": "MACAddressPolicy=random"}},
            "MACAddressPolicy in /etc/systemd/network/9.link",
            "MACAddressPolicy=none",
        ),
        ({"agents": (7, 9)}, "more than one terwayd", "kill 9"),
    ],
)
def test_who_else_configures_links_is_found_with_what_stops_it(
    changes: dict[str, object], what: str, command: str
) -> None:
    ((found, mended),) = found_of(**changes)

    assert found == what
    assert command in mended


def test_one_terwayd_and_a_policy_of_none_are_nothing_to_find() -> None:
    texts = {"/etc/systemd/network/9.link": "MACAddressPolicy=none"}

    assert found_of(agents=(7,), texts=texts) == []


def on_the_enis_link(there: Snapshot) -> Snapshot:
    assert there.kernel is not None
    node = there.kernel.node
    stray = LinkAddress(link="eth1", address=ip_interface("192.168.32.1/19"))
    node = replace(
        node,
        addresses=(stray,),
        routes=(*node.routes, route("0.0.0.0/0", "eth1", via=IPv4Address("192.168.63.253"))),
    )
    return replace(there, kernel=replace(there.kernel, node=node))


def test_what_a_helper_puts_on_an_eni_is_found() -> None:
    commands = [one.command for one in check_others(on_the_enis_link(healthy()))]

    assert commands == [
        "ip address delete 192.168.32.1/19 dev eth1",
        "ip route delete default dev eth1",
    ]


def event(last: str, *, host: str = "node-1", type_: str = "Normal", count: int = 1) -> Event:
    return Event(
        metadata=ObjectMeta(name=f"e.{last}"),
        involved_object=ObjectReference(kind="Pod", namespace="default", name="a" * 60),
        source=EventSource(component="terwayd", host=host),
        reason="AllocIPFailed",
        message="word " * 60,
        type=type_,
        last_timestamp=last,
        count=count,
    )


def test_events_of_this_node_are_told_the_newest_first_in_80_columns() -> None:
    listed = [event("2026-01-01"), event("2026-01-02", count=3), event("2026-01-03", host="other")]

    told = told_by(listed, NodeName("node-1"))
    lines = list(event_lines(told))

    assert [(one.last, one.count) for one in told] == [("2026-01-02", 3), ("2026-01-01", 1)]
    assert [one for one in lines if len(one) > WIDTH and " " in one.strip()] == []


def service(name: str, **changes: object) -> KubeService:
    namespace, _, short = name.partition("/")
    fields: dict[str, object] = {
        "namespace": namespace,
        "name": short,
        "cluster_ips": (IPv4Address("172.21.0.10"),),
        "ports": (443,),
        **changes,
    }
    return KubeService(**fields)  # type: ignore[arg-type]


NODES = (KubeNode(name="n", addresses=(IPv4Address("192.168.0.1"),), is_ready=True),)


def test_services_are_tried_where_somebody_translates_them() -> None:
    services = [
        service("default/kubernetes"),
        service(OWN, ports=(17777,), node_ports=(30001,)),
        service("kube-system/kube-dns", ports=(53,)),
    ]

    tries, skipped = service_trials(services, NODES, own=OWN, unserved="")

    assert [(one.kind, one.host, one.port) for one in tries] == [
        ("reach", "172.21.0.10", 443),
        ("echo", "172.21.0.10", 17777),
        ("echo", "192.168.0.1", 30001),
        ("dns", "172.21.0.10", 53),
    ]
    assert skipped == ()


def test_what_is_not_tried_says_why_and_dns_is_asked_at_its_endpoints() -> None:
    dns = service("kube-system/kube-dns", endpoints=(FAR,))

    tries, skipped = service_trials([dns], NODES, own=OWN, unserved="nobody translates")
    _, without = service_trials([], NODES, own=OWN, unserved="")

    assert [(one.kind, one.host) for one in tries] == [("dns", str(FAR))]
    assert {one.skipped for one in skipped} == {"nobody translates"}
    assert "there is no service kube-system/kube-dns" in [one.skipped for one in without]


@contextmanager
def dns_server(code: int) -> Iterator[int]:
    """Answer one query with a code; yield the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(20)

        def answer() -> None:
            query, peer = sock.recvfrom(512)
            sock.sendto(query[:2] + struct.pack("!H", 0x8180 | code) + query[4:], peer)

        thread = threading.Thread(target=answer)
        thread.start()
        yield sock.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(("code", "word"), [(0, ""), (3, "code 3")])
def test_dns_is_asked_a_real_query(code: int, word: str) -> None:
    with dns_server(code) as port:
        said = attempt("dns", "127.0.0.1", port, 0)

    assert said == "" if not word else word in said
