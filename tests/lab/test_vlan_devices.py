"""Members of a trunk behind VLAN devices in their pods (`vlan_strip_type: vlan`), on whole nodes.

In the guest: many kernels have no 8021q. Policies and services are judged and led in the pod.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from ipaddress import ip_address

import pytest
import pytest_asyncio

from terway.datapath.exclusive import LEG_GROUP
from terway.kube.crds import POD_ENIS
from terway.kube.resource import NETWORK_POLICIES
from terway.lab.toolbox import HTTP_PORT
from terway.lab.world.pods import PodHandle
from terway.lab.world.service_objects import SERVICES, wait_endpoints
from terway.linux.netlink.link import pack_mac
from terway.model.address import Family
from terway.model.errors import UsageError
from terway.model.ids import MacAddress
from tests.lab.test_cli import nobody_mends, run, why
from tests.lab.test_limits import EGRESS, held_bytes_s
from tests.support.frames import ip, udp
from tests.support.podeni_lab import PodENILab, podeni_lab

pytestmark = [pytest.mark.lab, pytest.mark.guest, pytest.mark.asyncio(loop_scope="module")]

both = pytest.mark.parametrize("family", list(Family), ids=["ipv4", "ipv6"])
CNI = {"eniip_virtual_type": "datapathv2", "vlan_strip_type": "vlan"}
HERE, FAR = "node-1", "node-2"
PATIENCE_S = 300.0  # one CPU without JIT, on a machine with other work
_MBIT = 125_000  # bytes per second
_SEND = """
import contextlib, socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
    sender.setsockopt(263, 20, 1)  # SOL_PACKET, PACKET_QDISC_BYPASS
    sender.bind(("eth0", 0))
    with contextlib.suppress(OSError):  # what a queue below drops is told
        sender.send(bytes.fromhex(sys.argv[1]))
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made() -> AsyncIterator[PodENILab]:
    async with podeni_lab(nodes=2, ready_timeout_s=PATIENCE_S, cni=CNI) as made:
        await made.add_trunk(HERE)
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pods(made: PodENILab) -> dict[str, PodHandle]:
    eni = await made.bind(HERE)
    member = await made.pod("member", HERE, [eni], annotations={EGRESS: "4M"})
    rest = [("near", HERE), ("far", FAR)]
    found = await asyncio.gather(
        *(made.lab.pod(name, node=node, timeout_s=PATIENCE_S) for name, node in rest)
    )
    return {one.name: one for one in (member, *found)}


async def test_the_pod_has_a_vlan_device_and_a_second_leg(pods):
    shown = json.loads(await pods["member"].exec("ip", "-j", "-d", "link"))
    kinds = {one["ifname"]: one.get("linkinfo", {}).get("info_kind", "") for one in shown}

    assert (kinds["eth0"], kinds["veth1"]) == ("vlan", "veth")


@both
@pytest.mark.parametrize("other", ["near", "far"])
async def test_a_member_and_others_reach_each_other_from_their_own_addresses(pods, other, family):
    for one, to in ((pods["member"], pods[other]), (pods[other], pods["member"])):
        seen = await one.tool("whoami", str(to.address(family)))

        assert seen["peer"] == str(one.address(family))


@both
async def test_a_member_reaches_its_node_and_is_reached_by_it(made, pods, family):
    instance = made.lab.instances[HERE]
    own = instance.ipv4 if family is Family.V4 else instance.ipv6

    await pods["member"].exec("ping", "-c1", "-w60", str(own))
    await made.lab.node(HERE).exec("ping", "-c1", "-w60", str(pods["member"].address(family)))


async def test_a_member_reaches_services_in_both_families(made, pods):
    spec = {
        "selector": {"app": "far"},
        "ports": [{"port": HTTP_PORT, "targetPort": HTTP_PORT}],
        "ipFamilyPolicy": "RequireDualStack",
    }
    kube = made.lab.kube
    manifest = {"metadata": {"name": "to-far"}, "spec": spec}
    service = await kube.create(SERVICES, manifest, namespace="default")
    await wait_endpoints(kube, "to-far", lambda held: len(held) == 2, timeout_s=PATIENCE_S)

    for address in map(ip_address, service["spec"]["clusterIPs"]):
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    said = await pods["member"].tool("whoami", str(address))
                    break
                except UsageError:  # the node hears of a service a moment after the API
                    continue
        assert said["peer"] == str(pods["member"].address(Family(address.version)))


async def test_a_policy_holds_for_a_member(made, pods):
    policy = {
        "metadata": {"name": "only-near", "namespace": "default"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "member"}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "near"}}}]}],
        },
    }
    await made.lab.kube.create(NETWORK_POLICIES, policy, namespace="default")
    try:
        for family in Family:
            async with asyncio.timeout(PATIENCE_S):
                while await pods["far"].can_reach(pods["member"], family=family, timeout_s=5.0):
                    pass
            assert await pods["near"].can_reach(pods["member"], family=family)
    finally:
        await made.lab.kube.delete(NETWORK_POLICIES, "only-near", namespace="default")


async def test_why_walks_by_the_vlan_device_and_names_one_that_is_down(made, pods):
    asked = ("member", "far", "--family", "4")

    walked = await why(made.lab, *asked)
    async with nobody_mends(made.lab, HERE):
        await pods["member"].exec("ip", "link", "set", "eth0", "down")
        ended = await why(made.lab, *asked)
    await made.lab.node(HERE).restart_agent()  # it looks at everything when it starts
    async with asyncio.timeout(PATIENCE_S):
        while not await pods["far"].can_reach(pods["member"], timeout_s=5.0):
            pass

    assert [hop for hop in walked if hop["state"] == "FAIL"] == []
    names = [hop["what"] for hop in walked]
    assert names.index("link and address") < names.index("source check") < names.index("instance")
    assert (ended[-1]["what"], ended[-1]["state"]) == ("link", "FAIL")
    assert "eth0 is down" in ended[-1]["text"]


async def test_a_limit_holds_for_a_member(pods):
    async with await pods["member"].connect(pods["far"]) as flow:
        await flow.echo(bytes(200_000))  # what the bucket has
        found = await held_bytes_s(flow, limit=4 * _MBIT)

    assert found == pytest.approx(4 * _MBIT, rel=0.2)


async def test_nothing_leaves_with_the_tag_from_another_mac_or_address(made, pods):
    """Whoever is root in the pod writes whole frames, past the programs there."""
    (device,) = json.loads(await pods["member"].exec("ip", "-j", "link", "show", "eth0"))
    mac = MacAddress(device["address"])
    own, far = (pods[name].address(Family.V4) for name in ("member", "far"))
    right, forged = (ip(source, far, 17, udp(1, 2)) for source in (own, far))
    before = await _spoofed(made)

    for source, packet in ((mac, forged), (MacAddress("00:16:3e:ff:ff:fe"), right)):
        await pods["member"].exec("python3", "-c", _SEND, (_frame(source) + packet).hex())

    assert await _spoofed(made) == before + 2


def _frame(source: MacAddress) -> bytes:
    return pack_mac(MacAddress("ee:ff:ff:ff:ff:ff")) + pack_mac(source) + b"\x08\x00"


async def _spoofed(made: PodENILab) -> float:
    for line in (await run(made.lab, "metrics", node=HERE)).output.splitlines():
        if 'reason="spoofed"' in line:
            return float(line.split()[0])
    return 0.0


async def test_a_device_that_is_gone_is_made_again(made, pods):
    await pods["member"].exec("ip", "link", "del", "eth0")

    async with asyncio.timeout(PATIENCE_S):
        while not await pods["member"].can_reach(pods["far"], timeout_s=5.0):
            pass


async def test_a_member_that_was_attached_again_has_a_device_of_its_new_id(made, pods):
    found = await made.lab.kube.get(POD_ENIS, "member", namespace="default")
    assert found is not None
    (eni,) = await made.client.describe_enis(eni_ids=[one.eni.id for one in found.spec.allocations])

    again = await made.bind_again("member", HERE, eni)

    assert again.vlan_id != eni.vlan_id
    async with asyncio.timeout(PATIENCE_S):
        while not await pods["far"].can_reach(pods["member"], timeout_s=5.0):
            pass
    shown = json.loads(await pods["member"].exec("ip", "-j", "-d", "link", "show", "eth0"))
    assert shown[0]["linkinfo"]["info_data"]["id"] == again.vlan_id
    for family in Family:
        seen = await pods["member"].tool("whoami", str(pods["far"].address(family)))
        assert seen["peer"] == str(pods["member"].address(family))


async def test_a_restart_is_not_seen_by_a_connection_and_del_leaves_nothing(made, pods):
    async with await pods["far"].connect(pods["member"]) as flow:
        await made.lab.node(HERE).restart_agent()
        assert await flow.echo(b"still there", timeout_s=PATIENCE_S) == b"still there"

    await made.lab.delete_pod("member")

    async with asyncio.timeout(PATIENCE_S):
        while str(LEG_GROUP) in await made.lab.node(HERE).exec("ip", "-d", "link"):
            pass
