"""By which way a packet comes makes no difference: same node, service, fragments, own node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address

import pytest

from terway.kube.resource import CLUSTER_NETWORK_POLICIES
from terway.lab.policy.inforce import SOCKET
from terway.lab.policy.prober import Attempt
from terway.lab.policy.services_api import ServicesInApi
from terway.lab.world.node import NodeHandle
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import Family
from terway.policy.cluster import Protocol
from tests.support.policy_lab import Crew, PolicyLab
from tests.support.policy_objects import NOBODY, Object, network_policy, peers
from tests.support.wires import (
    End,
    Wires,
    heard,
    hears,
    icmp_message,
    try_to_send,
)

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="package")]

PORT, OTHER, SERVICE_PORT = 7500, 7501, 80
SERVICE = {Family.V4: "172.21.0.50", Family.V6: "fd00:21::50"}
ICMP = 1
LARGE = 4000  # bytes: three fragments


async def test_on_one_node_both_sides_must_agree(world: PolicyLab, crew: Crew, wires: Wires):
    """What the sender's policy allows does not skip the receiver's."""
    out = peers("to", ("UDP", PORT), ("UDP", OTHER), pods=crew.labels("near"))
    into = peers("from", ("UDP", OTHER), pods=crew.labels("client"))

    await world.policies(
        network_policy("out", selects=crew.labels("client"), egress=[out]),
        network_policy("into", selects=crew.labels("near"), ingress=[into]),
    )

    assert not await wires.passes(crew.client, crew.near, PORT)
    assert await wires.passes(crew.client, crew.near, OTHER)


async def test_a_pods_own_node_is_let_in_where_nobody_is_and_another_node_is_not(
    world: PolicyLab, crew: Crew, wires: Wires
):
    """Bug class 50."""
    shut = network_policy(
        "shut", selects=crew.labels("server"), ingress=NOBODY, egress=NOBODY, has_fence=False
    )
    fenced = network_policy("shut", selects=crew.labels("server"), ingress=NOBODY, egress=NOBODY)

    await world.policies(fenced)
    assert not await wires.passes(crew.node(1), crew.server, PORT)
    await world.policies(shut)
    listener = await wires.tcp_listener(crew.server, PORT)
    probe = await wires.connect(crew.node(2), crew.server, PORT)
    served = await wires.accept(listener)
    probe.send(b"alive?")
    await hears(served, b"alive?")
    served.send(b"yes")
    await hears(probe, b"yes")
    node = await wires.udp(crew.node(2), OTHER)
    pod = await wires.udp(crew.server)
    pod.sendto(b"to its node", (str(crew.node(2).address), OTHER))
    await hears(node, b"to its node")


@asynccontextmanager
async def service(world: PolicyLab, crew: Crew, target: End) -> AsyncIterator[End]:
    """Have the client's node lead from a service's address to a pod."""
    node, at = world.lab.node(f"{crew.pool}-1"), SERVICE[crew.family]
    lead = led(world, at, target) if world.is_ebpf else translated(node, crew.family, target)
    async with lead:
        yield End(netns_path=target.netns_path, address=type(target.address)(at))


@asynccontextmanager
async def led(world: PolicyLab, address: str, target: End) -> AsyncIterator[None]:
    """Have the service in the API, and nodes lead to its endpoint."""
    services = ServicesInApi(world.lab.kube)
    services.see({name: node.inside(SOCKET) for name, node in world.lab.nodes.items()})
    one = Attempt(
        source_netns="",
        source=target.address,
        destination_netns="",
        destination=target.address,
        protocol=Protocol.UDP,
        port=PORT,
        via=(ip_address(address), SERVICE_PORT),
    )
    await services.translate([one])
    try:
        yield
    finally:
        await services.translate(())


@asynccontextmanager
async def translated(node: NodeHandle, family: Family, target: End) -> AsyncIterator[None]:
    """Let the node translate a service's address, and its own pods' hairpin, as kube-proxy does."""
    word = "ip" if family is Family.V4 else "ip6"
    backend = f"{target.address}" if family is Family.V4 else f"[{target.address}]"
    table = f"{word} service-{word}"
    rules = f"""
    table {table} {{
      chain prerouting {{
        type nat hook prerouting priority dstnat
        {word} daddr {SERVICE[family]} udp dport {SERVICE_PORT} dnat to {backend}:{PORT}
      }}
      chain postrouting {{
        type nat hook postrouting priority srcnat
        {word} saddr {target.address} {word} daddr {target.address} masquerade
      }}
    }}"""
    await node.exec("nft", rules)
    try:
        yield
    finally:
        await node.exec("nft", f"delete table {table}")


async def test_behind_a_service_it_is_the_pod_and_its_port_that_count(
    world: PolicyLab, crew: Crew, wires: Wires
):
    """Bug class 49: by the address of the service nobody is let in, or kept out."""
    # Past its node, a pod with an ENI is seen as the node: docs/policy.md, "Limits".
    part = "server" if crew.pool == "node" else "near"
    server, client = await wires.udp(crew.end(part), PORT), await wires.udp(crew.client)
    to_pod = peers("to", ("UDP", PORT), pods=crew.labels(part))
    block = f"{SERVICE[crew.family]}/{crew.family.max_prefixlen}"
    to_service = {"to": [{"ipBlock": {"cidr": block}}]}
    from_client = peers("from", ("UDP", PORT), pods=crew.labels("client"))
    into = network_policy("into", selects=crew.labels(part), ingress=[from_client])

    async with service(world, crew, crew.end(part)) as at:
        await world.policies(
            into, network_policy("out", selects=crew.labels("client"), egress=[to_service])
        )
        try_to_send(client, b"by block", at, SERVICE_PORT)
        await wires.fence(crew.client, crew.end(part))
        assert heard(server) == []

        await world.policies(
            into, network_policy("out", selects=crew.labels("client"), egress=[to_pod])
        )
        client.sendto(b"by pod", (str(at.address), SERVICE_PORT))
        await hears(server, b"by pod")


async def test_a_pod_reaches_itself_by_its_service_whatever_its_policies(
    world: PolicyLab, crew: Crew, wires: Wires
):
    """Bug class 44."""
    await world.policies(
        network_policy("shut", selects=crew.labels("client"), ingress=NOBODY, egress=NOBODY)
    )
    own, asks = await wires.udp(crew.client, PORT), await wires.udp(crew.client)

    async with service(world, crew, crew.client) as at:
        asks.sendto(b"question", (str(at.address), SERVICE_PORT))
        data, peer = await asyncio.wait_for(
            asyncio.get_running_loop().sock_recvfrom(own, 100), timeout=PATIENCE_S
        )
        own.sendto(b"answer", peer)
        await hears(asks, b"answer")

    assert data == b"question"


@pytest.mark.parametrize("direction", ["egress", "ingress"])
async def test_a_cluster_policy_keeps_a_pod_from_itself_by_its_service(
    world: PolicyLab, crew: Crew, wires: Wires, direction: str
):
    """NetworkPolicy, which selects the pod as well, never does."""
    await world.policies(
        network_policy("shut", selects=crew.labels("client"), ingress=NOBODY, egress=NOBODY)
    )
    itself = {
        "pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": crew.labels("client")}}
    }
    ports = [{"udp": {"destinationPort": {"number": PORT}}}]
    peer = "to" if direction == "egress" else "from"
    rule = {"action": "Deny", peer: [itself], "protocols": ports}
    denial = {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": f"not-itself-{direction}"},
        "spec": {"tier": "Admin", "priority": 1, "subject": itself, direction: [rule]},
    }
    own, asks = await wires.udp(crew.client, PORT), await wires.udp(crew.client)

    async with (
        service(world, crew, crew.client) as at,
        cluster_policy(world, denial),
    ):
        try_to_send(asks, b"question", at, SERVICE_PORT)
        await wires.fence(crew.client, crew.server)
        assert heard(own) == []
    await world.in_force()


@asynccontextmanager
async def cluster_policy(world: PolicyLab, policy: Object) -> AsyncIterator[None]:
    await world.lab.kube.create(CLUSTER_NETWORK_POLICIES, policy)
    await world.in_force()
    try:
        yield
    finally:
        await world.lab.kube.delete(CLUSTER_NETWORK_POLICIES, policy["metadata"]["name"])


async def test_fragments_pass_with_what_they_are_part_of(
    world: PolicyLab, crew: Crew, wires: Wires
):
    into = peers("from", ("UDP", PORT), pods=crew.labels("client"))
    await world.policies(network_policy("into", selects=crew.labels("server"), ingress=[into]))
    allowed, barred = await wires.udp(crew.server, PORT), await wires.udp(crew.server, OTHER)
    client = await wires.udp(crew.client)

    for port in (OTHER, PORT):
        client.sendto(bytes(LARGE), (str(crew.server.address), port))
    await hears(allowed, bytes(LARGE))
    await wires.fence(crew.client, crew.server)

    assert heard(barred) == []


@pytest.mark.parametrize("has_ports", [True, False], ids=["with-ports", "without-ports"])
async def test_an_echo_is_let_in_where_a_rule_names_the_peer_without_ports(
    world: PolicyLab, crew: Crew, wires: Wires, has_ports: bool
):
    ports = (("UDP", PORT),) if has_ports else ()
    rule = peers("from", *ports, pods=crew.labels("client"))
    await world.policies(network_policy("into", selects=crew.labels("server"), ingress=[rule]))
    ear, mouth = await wires.raw(crew.server, ICMP), await wires.raw(crew.client, ICMP)
    kind = (8, 0) if crew.family is Family.V4 else (128, 0)

    mark = b"an echo of a test"
    try_to_send(mouth, icmp_message(crew.client, crew.server, kind, 0x70001, mark), crew.server)
    await wires.fence(crew.client, crew.server)

    assert any(mark in one for one in heard(ear)) is not has_ports


async def test_a_closed_ports_error_reaches_a_pod_that_lets_nobody_in(
    world: PolicyLab, crew: Crew, wires: Wires
):
    out = peers("to", ("UDP", PORT), pods=crew.labels("server"))
    await world.policies(
        network_policy("out", selects=crew.labels("client"), egress=[out], ingress=NOBODY)
    )
    client = await wires.udp(crew.client)
    client.connect((str(crew.server.address), PORT))
    client.send(b"is anybody there?")

    with pytest.raises(ConnectionRefusedError):
        await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 10), timeout=PATIENCE_S)


async def test_neighbours_are_found_again_by_a_pod_that_may_talk_to_nobody(
    world: PolicyLab, crew: Crew, wires: Wires
):
    """Bug class 29: without neighbour discovery a pod loses its gateway after minutes."""
    await world.policies(
        network_policy("shut", selects=crew.labels("server"), ingress=NOBODY, egress=NOBODY)
    )
    server = crew.pods["server"]

    for _ in range(3):
        await server.exec("ip", "neigh", "flush", "all", check=False)
        await server.node.exec("ip", "neigh", "flush", "all", check=False)
        await wires.fence(crew.client, crew.server)
        await wires.fence(crew.server, crew.client)
