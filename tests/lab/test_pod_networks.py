"""Pods with several interfaces, with routes of their own, and what they may and may not reach."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from ipaddress import IPv4Network, ip_address
from typing import Any

import pytest
import pytest_asyncio

from terway.kube.resource import EVENTS, PODS
from terway.lab.cloud.provision import create_security_group, create_vswitch
from terway.lab.toolbox import ECHO_PORT
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.pods import PodHandle, pod_manifest
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import Family, IPAddress, family_of
from terway.model.errors import UsageError
from terway.model.ids import ZoneId
from tests.support.iproute import ip_in

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

FAMILIES = [Family.V4, Family.V6]
both = pytest.mark.parametrize("family", FAMILIES, ids=["ipv4", "ipv6"])
SECOND_CIDR = IPv4Network("192.168.96.0/20")
PORTMAP: dict[str, Any] = {"type": "portmap", "capabilities": {"portMappings": True}}
TUNNELLED = {Family.V4: "10.99.0.1", Family.V6: "fd99::1"}


def networks(*listed: dict[str, Any]) -> dict[str, str]:
    return {"k8s.aliyun.com/pod-networks": json.dumps({"podNetworks": listed})}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    extra = [{"dst": "10.98.0.0/16"}, {"dst": "fd98::/32"}]
    async with open_lab(
        name=f"m{uuid.uuid4().hex[:8]}",
        nodes=2,
        chained=(PORTMAP,),
        eni_conf={"extra_routes": extra},
    ) as lab:
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pods(lab: Lab) -> dict[str, PodHandle]:
    second = create_vswitch(
        lab.cloud,
        lab.ground.vpc_id,
        SECOND_CIDR,
        zone_id=ZoneId(lab.plan.zone_id),
        ipv6_number=9,
        name="second",
    )
    one = await lab.pod(
        "one",
        node="node-1",
        annotations=networks(
            {"interface": "eth0"},
            {
                "interface": "eth1",
                "vSwitchOptions": [second],
                "extraRoutes": [{"dst": "10.97.0.0/16"}, {"dst": "fd97::/32"}],
            },
        ),
    )
    return {
        "one": one,
        "near": await lab.pod("near", node="node-1"),
        "far": await lab.pod("far", node="node-2"),
    }


async def addresses_on(pod: PodHandle, link: str) -> dict[Family, IPAddress]:
    (shown,) = await ip_in(pod, "address", "show", link)
    found = [ip_address(one["local"]) for one in shown["addr_info"] if one["scope"] == "global"]
    return {family_of(one): one for one in found}


@both
async def test_each_interface_has_an_address_and_reaches_everything_from_it(
    lab: Lab, pods: dict[str, PodHandle], family: Family
) -> None:
    """Bug class 30: a default route and an address in each family, on every interface."""
    one = pods["one"]
    for link in ("eth0", "eth1"):
        address = (await addresses_on(one, link))[family]
        for target in ("near", "far"):
            await one.exec(
                "ping", "-c1", "-w20", "-I", str(address), str(pods[target].address(family))
            )
            await pods[target].exec("ping", "-c1", "-w20", str(address))
        await one.exec("ping", "-c1", "-w20", "-I", link, str(pods["far"].address(family)))


async def test_the_second_interface_is_on_the_vswitch_that_was_asked_for(
    pods: dict[str, PodHandle],
) -> None:
    assert (await addresses_on(pods["one"], "eth1"))[Family.V4] in SECOND_CIDR


async def test_an_interface_is_on_an_eni_of_the_security_groups_that_were_asked_for(
    lab: Lab, pods: dict[str, PodHandle]
) -> None:
    group = create_security_group(lab.cloud, lab.ground.vpc_id, name="closed")
    annotations = networks(
        {"interface": "eth0"}, {"interface": "eth1", "securityGroupIDs": [group]}
    )
    pod = await lab.pod("grouped", node="node-2", annotations=annotations)

    address = (await addresses_on(pod, "eth1"))[Family.V4]
    found = [one for one in lab.cloud.world.state.enis.values() if address in one.ipv4]
    assert [one.security_group_ids for one in found] == [(group,)]
    with pytest.raises(UsageError):  # the group has no rule that lets anybody in
        await pods["one"].exec("ping", "-c1", "-W1", str(address))
    await lab.delete_pod("grouped")


@both
async def test_rules_and_tables_in_the_pod_are_those_of_both_families(
    pods: dict[str, PodHandle], family: Family
) -> None:
    one, v = pods["one"], f"-{family.value}"
    for link in ("eth0", "eth1"):
        (shown,) = await ip_in(one, "link", "show", link)
        table = str(1000 + shown["ifindex"])
        rules = await ip_in(one, v, "rule")
        ours = [rule for rule in rules if rule["priority"] == 512 and rule["table"] == table]
        assert {rule.get("oif", rule["src"]) for rule in ours} == {
            link,
            str((await addresses_on(one, link))[family]),
        }
        assert f"dev {link}" in await one.exec("ip", v, "route", "show", "table", table)
    default = await one.exec("ip", v, "route", "show", "default")
    assert "dev eth0" in default
    assert "eth1" not in default


@both
async def test_extra_routes_lead_by_their_interface(
    pods: dict[str, PodHandle], family: Family
) -> None:
    inside = {Family.V4: ("10.97.1.1", "10.98.1.1"), Family.V6: ("fd97::1", "fd98::1")}[family]

    for destination, link in zip(inside, ("eth1", "eth0"), strict=True):
        assert f"dev {link} " in await pods["one"].exec("ip", "route", "get", destination)
    assert inside[1].split(".")[0].split(":")[0] in await pods["far"].exec(
        "ip", f"-{family.value}", "route"
    )


async def test_all_interfaces_survive_a_restart_and_are_mended_together(
    lab: Lab, pods: dict[str, PodHandle]
) -> None:
    before = await pods["one"].exec("ip", "rule")

    await lab.node("node-1").kill_agent()
    await lab.wait_ready("node-1")

    assert await pods["one"].exec("ip", "rule") == before
    await pods["one"].exec("ping", "-c1", "-w20", "-I", "eth1", str(pods["far"].address(Family.V4)))


async def test_with_the_pod_all_its_interfaces_go(lab: Lab, pods: dict[str, PodHandle]) -> None:
    annotations = networks({"interface": "eth0"}, {"interface": "net1", "defaultRoute": True})
    two = await lab.pod("two", node="node-1", annotations=annotations)
    held = await addresses_on(two, "net1")
    assert "dev net1" in await two.exec("ip", "route", "show", "default")

    await lab.delete_pod("two")

    rules = await lab.node("node-1").exec("sh", "-c", "ip rule; ip -6 rule")
    assert not [one for one in held.values() if f"{one} " in rules]


async def test_a_pod_without_metadata_access_is_told_so_and_others_have_it(
    lab: Lab, pods: dict[str, PodHandle]
) -> None:
    closed = await lab.pod(
        "closed", node="node-1", annotations={"k8s.aliyun.com/metadata-access": "false"}
    )

    assert await refusal_of(closed, "100.100.100.200") == "113"  # EHOSTUNREACH, at once
    assert await refusal_of(pods["near"], "100.100.100.200") == "0"
    await lab.node("node-1").exec("ip", "rule", "del", "priority", "1024")
    await lab.node("node-1").restart_agent()
    await lab.wait_ready("node-1")
    await mended(lab, "ip rule show priority 1024", "prohibit")
    assert await refusal_of(closed, "100.100.100.200") == "113"
    await closed.exec("ping", "-c1", "-w20", str(pods["far"].address(Family.V4)))


async def refusal_of(pod: PodHandle, address: str) -> str:
    script = (
        "import socket; s = socket.socket(); s.settimeout(5); "
        f"print(s.connect_ex(('{address}', 80)))"
    )
    return (await pod.exec("python3", "-c", script)).strip()


async def mended(lab: Lab, command: str, wanted: str) -> None:
    """Wait on the node until a command shows what is wanted, at most 120 s."""
    script = (
        f"for i in $(seq 600); do {command} | grep -q '{wanted}' && exit 0; sleep 0.2; done; exit 1"
    )
    await lab.node("node-1").exec("sh", "-c", script)


@both
async def test_a_host_port_is_reached_from_another_node(
    lab: Lab, pods: dict[str, PodHandle], family: Family
) -> None:
    """Bug class 26: the answer leaves by the interface that the question came in by."""
    port = 18000 + family.value
    pod = await lab.pod(
        f"port{family.value}",
        node="node-1",
        ports=[{"containerPort": ECHO_PORT, "hostPort": port, "protocol": "TCP"}],
    )
    instance = lab.instances["node-1"]
    target = instance.ipv4 if family is Family.V4 else instance.ipv6
    assert target is not None

    for client in (pods["far"], pods["near"]):
        async with await client.connect(target, port=port) as flow:
            assert await flow.echo(b"x" * 50_000) == b"x" * 50_000
    async with await pod.connect(target, port=port) as flow:  # bug class 44: a hairpin
        assert await flow.echo(b"itself") == b"itself"


async def test_a_pod_that_asks_for_the_impossible_is_told_why(lab: Lab) -> None:
    manifest = pod_manifest(
        "bad", namespace="default", node="node-1", annotations=networks({"interface": "eth1"})
    )
    await lab.kube.create(PODS, manifest, namespace="default")

    async with asyncio.timeout(PATIENCE_S):
        while not any("interface eth0" in one for one in await messages_about(lab, "bad")):
            await lab.node("node-1").exec("true")


async def messages_about(lab: Lab, pod: str) -> list[str]:
    events = (await lab.kube.list(EVENTS)).items
    return [one.message for one in events if one.involved_object.name == pod]
