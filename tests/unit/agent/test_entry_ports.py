"""Pods' hostPorts become ports of the node that lead to them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from terway.agent.ebpf.entry_ports import PodPorts, host_ports_of
from terway.agent.pods import IGNORE_LABEL
from terway.agent.serving import watch_unless_ours
from terway.config.choices import ProxyReplacement
from terway.kube.types import Container, ContainerPort, ObjectMeta, Pod, PodIP, PodSpec, PodStatus
from terway.service.changes import SetHostPorts
from terway.service.values import HostPort, Protocol

V4, V6 = "192.168.32.1", "2001:db8::1"


def pod(
    *ports: ContainerPort,
    ips: tuple[str, ...] = (V4,),
    phase: str = "Running",
    host_network: bool = False,
    labels: dict[str, str] | None = None,
) -> Pod:
    return Pod(
        metadata=ObjectMeta(name="web", namespace="shop", labels=labels or {}),
        spec=PodSpec(containers=(Container(ports=ports),), host_network=host_network),
        status=PodStatus(phase=phase, pod_ips=tuple(PodIP(ip=ip) for ip in ips)),
    )


WEB = ContainerPort(container_port=80, host_port=8080)


def leads(address: str, **changes: object) -> HostPort:
    given = {"host_port": 8080, "address": ip_address(address).packed, "port": 80, **changes}
    return HostPort(**given)  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (pod(WEB), (leads(V4),)),
        (pod(WEB, ips=(V4, V6)), (leads(V4), leads(V6))),
        (pod(WEB, ips=()), ()),
        (pod(ContainerPort(container_port=80)), ()),
        (
            pod(ContainerPort(container_port=80, host_port=8080, protocol="UDP")),
            (leads(V4, protocol=Protocol.UDP),),
        ),
        (
            pod(ContainerPort(container_port=80, host_port=8080, host_ip="10.0.0.1"), ips=(V4, V6)),
            (leads(V4, host_ip=ip_address("10.0.0.1").packed),),
        ),
        (pod(ContainerPort(container_port=80, host_port=8080, host_ip="0.0.0.0")), (leads(V4),)),
        (pod(WEB, phase="Succeeded"), ()),
        (pod(WEB, host_network=True), ()),
        (pod(WEB, labels={IGNORE_LABEL: "true"}), ()),
    ],
    ids=[
        "one",
        "both families",
        "without an address",
        "without a hostPort",
        "protocol",
        "at one address of the node",
        "at every address",
        "ended",
        "of the node's network",
        "of another network",
    ],
)
def test_host_ports_of_a_pod(given, expected):
    assert host_ports_of(given) == expected


@dataclass(frozen=True)
class Change:
    old: Pod | None
    new: Pod | None


async def told(*changes: Change) -> list[SetHostPorts]:
    """Return what was said of these changes."""

    async def stream():
        for change in changes:
            yield change

    @contextmanager
    def opened():
        yield stream()

    found: list[SetHostPorts] = []
    await PodPorts(changes=opened, sink=found.append).run()
    return found


async def test_a_pod_is_told_when_it_has_an_address_and_when_it_goes():
    waiting, running = pod(WEB, ips=()), pod(WEB)

    found = await told(
        Change(None, waiting), Change(waiting, running), Change(running, running),
        Change(running, None),
    )  # fmt: skip

    assert found == [
        SetHostPorts(pod="shop/web", ports=(leads(V4),)),
        SetHostPorts(pod="shop/web", ports=()),
    ]


async def test_pods_without_host_ports_are_not_talked_of():
    quiet = pod(ContainerPort(container_port=80))

    assert await told(Change(None, quiet), Change(quiet, None)) == []


async def test_pods_are_not_told_of_hostports_without_effect_where_ours_have_one():
    asked: list[str] = []

    async def watch() -> None:
        asked.append("watched")

    await watch_unless_ours(watch, ProxyReplacement.ON)

    assert asked == []


async def test_all_that_there_is_can_be_said_at_once():
    said: list[SetHostPorts] = []
    ports = PodPorts(changes=nothing_changes, sink=said.append)

    async def everybody() -> tuple[Pod, ...]:
        return (pod(WEB),)

    await ports.fill(everybody)
    await ports.fill(everybody)

    assert said == [SetHostPorts(pod="shop/web", ports=(leads(V4),))]


def nothing_changes():
    raise AssertionError("nobody asks for changes")
