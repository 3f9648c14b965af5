"""A node that ran upstream Terway is taken over in place: pods keep addresses and connections."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from terway.cli.migrate_back import go_back
from terway.datapath.takeover import Outcome
from terway.linux.guard import read_drops
from terway.linux.netlink.socket import open_route_socket
from terway.model.interface import Bandwidth, Mode
from terway.store.upstream import parse_record, read_pods, read_relations
from tests.support.emulated_node import emulated_cloud, in_process_terwayd
from tests.support.flows_of_pods import traffic
from tests.support.iproute import ip_here
from tests.support.kernel_node import WORLD_V4, WORLD_V6, kernel_node, links_are_gone, sh
from tests.support.upstream_node import both, filters_of, host_link, mac_of, upstream_node

pytestmark = pytest.mark.root


@pytest.fixture
def machine():
    with kernel_node() as machine:
        sh("ip link del eth1")  # the cloud plugs its own
        yield machine


@pytest.fixture
async def node(machine, tmp_path):
    async with emulated_cloud(machine) as world, upstream_node(world, tmp_path) as node:
        yield node


def ask(pod):
    """Return what a runtime says of a pod of upstream."""
    ns, name = pod.pod.namespace, pod.pod.name
    return {
        "CNI_CONTAINERID": pod.container_id,
        "CNI_NETNS": pod.netns,
        "CNI_ARGS": f"K8S_POD_NAMESPACE={ns};K8S_POD_NAME={name}",
    }


@pytest.mark.parametrize("address", [IPv4Address(WORLD_V4), IPv6Address(WORLD_V6)], ids=str)
async def test_a_pod_of_upstream_keeps_its_address_and_every_packet(node, tmp_path, address):
    """Bug class 20: an upgrade meets what another version has made; 7: an address given twice."""
    pod = node.add_pod("web-0", node.addresses(1))
    before = mac_of(host_link(pod.pod)), mac_of("eth0", netns=pod.netns)
    async with traffic(pod.netns, f"/run/netns/{node.machine.vpc}", address) as flow:
        (verdict,) = await node.take_over()

        async with in_process_terwayd(node.world, tmp_path) as daemon:
            await flow.goes_on()
            await daemon.terwayd.reconciled.wait()
            await flow.goes_on()

            (held,) = daemon.terwayd.pool.attachments()
            assert tuple(held.lease.addresses) == both(pod)
            assert await daemon.terwayd.network.differences(held, pod_mac=None) == ()
    assert verdict.outcome is Outcome.TAKEN
    assert (mac_of(host_link(pod.pod)), mac_of("eth0", netns=pod.netns)) == before
    with open_route_socket() as sock:
        assert read_drops(sock, host_link(pod.pod)) == {}


async def test_new_pods_get_other_addresses_and_reach_the_old_ones(node, machine, tmp_path):
    old = [node.add_pod(f"old-{number}", node.addresses(number)) for number in (1, 2)]
    await node.take_over()

    async with in_process_terwayd(node.world, tmp_path) as daemon:
        new = machine.pod()
        assert (await daemon.node.run("ADD", CNI_NETNS=new, CNI_CONTAINERID="new")).exit_code == 0
        addresses = [address for pod in old for address in both(pod)]
        held = [one for made in daemon.terwayd.pool.attachments() for one in made.lease.addresses]
        assert len(held) == len(set(held)) == 6
        for address in addresses:
            machine.ping(new, str(address))


async def test_the_runtime_can_check_and_delete_a_pod_of_upstream(node, tmp_path):
    pod, other = (node.add_pod(name, node.addresses(n)) for n, name in ((1, "a"), (2, "b")))
    await node.take_over()

    async with in_process_terwayd(node.world, tmp_path) as daemon:
        await daemon.terwayd.reconciled.wait()
        assert (await daemon.node.run("DEL", **ask(pod))).exit_code == 0
        await links_are_gone(host_link(pod.pod))

        (held,) = daemon.terwayd.pool.attachments()
        assert held.pod == other.pod
        rules = sh("ip rule; ip -6 rule").split()  # one address may begin as another does
        for address in both(pod):
            assert f"{address}" not in rules
        for address in both(other):
            assert f"{address}" in rules


async def test_limits_of_upstream_stay_in_force(node, tmp_path):
    limits = Bandwidth(ingress=1_000_000, egress=2_000_000)
    pod = node.add_pod("slow", node.addresses(1), bandwidth=limits)
    tbf = "root handle 1: tbf rate 8mbit burst 10500 limit 35000"
    sh(f"tc qdisc add dev {host_link(pod.pod)} {tbf}")
    await node.take_over()

    async with in_process_terwayd(node.world, tmp_path) as daemon:
        await daemon.terwayd.reconciled.wait()
        assert "rate 8Mbit" in sh(f"tc qdisc show dev {host_link(pod.pod)}")
        assert "rate 16Mbit" in sh(f"nsenter --net={pod.netns} tc qdisc show dev eth0")


async def test_a_pod_with_programs_of_upstream_is_left_untouched_until_it_goes(node, tmp_path):
    pod = node.add_pod("fast", node.addresses(1))
    link = host_link(pod.pod)
    sh(f"""
        tc qdisc add dev {link} clsact
        tc filter add dev {link} ingress prio 25000 bpf bytecode '1,6 0 0 4294967295'
    """)

    def state():
        """Return what was made; whether the link has a carrier is found out by the kernel."""
        (shown,) = ip_here("-d", "link", "show", link)
        kept = {key: value for key, value in shown.items() if key not in ("flags", "operstate")}
        return kept, sh("ip rule; ip -6 rule"), filters_of(link)

    before = state()

    (verdict,) = await node.take_over()
    async with in_process_terwayd(node.world, tmp_path) as daemon:
        await daemon.terwayd.reconciled.wait()

        assert verdict.outcome is Outcome.LEFT_ALONE
        assert "datapathv2" in verdict.why
        assert state() == before
        node.machine.ping(pod.netns, WORLD_V4)
        (held,) = daemon.terwayd.pool.attachments()
        assert tuple(held.lease.addresses) == both(pod)
        assert (await daemon.node.run("DEL", **ask(pod))).exit_code == 0
        await links_are_gone(link)
        assert daemon.terwayd.pool.attachments() == ()


async def test_a_pod_that_has_gone_since_is_not_taken_over(node, tmp_path):
    pod = node.pod("gone", "/run/netns/nobody-has-this", node.addresses(1))
    node.write(pod)

    (verdict,) = await node.take_over()

    assert verdict.outcome is Outcome.GONE
    async with in_process_terwayd(node.world, tmp_path) as daemon:
        assert daemon.terwayd.pool.attachments() == ()


async def test_a_node_is_taken_over_once(node, tmp_path):
    pod = node.add_pod("web-0", node.addresses(1))
    await node.take_over()
    async with in_process_terwayd(node.world, tmp_path) as daemon:
        assert (await daemon.node.run("DEL", **ask(pod))).exit_code == 0

    assert await node.take_over() == ()


@pytest.mark.parametrize("address", [IPv4Address(WORLD_V4), IPv6Address(WORLD_V6)], ids=str)
async def test_the_node_goes_back_to_upstream_and_no_packet_is_lost(node, tmp_path, address):
    """Bug class 20: a downgrade finds what the version after has made."""
    old = node.add_pod("old", node.addresses(1))
    await node.take_over()
    async with in_process_terwayd(node.world, tmp_path) as daemon:
        new = node.machine.pod()
        args = "K8S_POD_NAMESPACE=default;K8S_POD_NAME=new"
        asked = {"CNI_NETNS": new, "CNI_CONTAINERID": "c-new", "CNI_ARGS": args}
        assert (await daemon.node.run("ADD", **asked)).exit_code == 0
        paths = daemon.paths
        (paths.state_dir / "supply.json").write_text("{}")
        given = {
            str(one.pod): tuple(one.lease.addresses) for one in daemon.terwayd.pool.attachments()
        }
    node.machine.know(*map(str, given["default/new"]), mac=node.eni.mac, far=f"vpc-{node.ifname}")

    vpc = f"/run/netns/{node.machine.vpc}"
    async with traffic(old.netns, vpc, address) as first, traffic(new, vpc, address) as second:
        done = await go_back(paths)
        await first.goes_on()
        await second.goes_on()

    found = read_relations(paths.state_dir / "ResRelation.db")
    known = {key: parse_record(key, value) for key, value in found.items()}
    assert {key: both(pod) for key, pod in known.items()} == given
    assert set(read_pods(paths.state_dir / "pod.db")) == set(given)
    assert known["default/new"].container_id == "c-new"
    assert known["default/new"].interfaces[0].gateways == node.gateways
    assert any("guard of cali" in line for line in done)
    with open_route_socket() as sock:
        assert read_drops(sock, host_link(old.pod)) is None
    assert not paths.journal.exists()
    assert not (paths.state_dir / "supply.json").exists()
    verdicts = await node.take_over()
    assert [one.outcome for one in verdicts] == [Outcome.TAKEN, Outcome.TAKEN]


async def test_a_pod_with_an_eni_of_its_own_keeps_it_and_every_packet(machine, tmp_path):
    async with (
        emulated_cloud(machine) as world,
        upstream_node(world, tmp_path, creator="terway-controller") as node,
    ):
        pod = node.add_exclusive_pod("db-0")
        vpc = f"/run/netns/{machine.vpc}"
        async with traffic(pod.netns, vpc, IPv4Address(WORLD_V4)) as flow:
            (verdict,) = await node.take_over()
            async with in_process_terwayd(world, tmp_path, mode=Mode.EXCLUSIVE) as daemon:
                await flow.goes_on()
                await daemon.terwayd.reconciled.wait()
                await flow.goes_on()

                (held,) = daemon.terwayd.pool.attachments()
                assert await daemon.terwayd.network.differences(held, pod_mac=None) == ()
                assert verdict.outcome is Outcome.TAKEN
                sh(f"ping -n -c1 -w20 {both(pod)[0]}")
            done = await go_back(daemon.paths)
            await flow.goes_on()
        assert any("guard of cali" in line for line in done)
