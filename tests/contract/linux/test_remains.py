"""What felix and Cilium leave goes whole; what is forbidden stays so at every moment."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address

import pytest

from terway.agent.remains import RemainsKeeper
from terway.linux import guard, nftables
from terway.linux.netlink.socket import open_route_socket
from terway.linux.netlink.traffic import Hook, attached_programs, put_program
from terway.linux.netns import fresh_netns
from terway.linux.remains import Engine, legacy_tables, read_remains, remove_remains
from terway.linux.shared_program import SharedProgram
from terway.model.attachment import PodRef
from tests.support.flows_of_pods import traffic
from tests.support.kernel_node import sh
from tests.support.netns import ScratchNetns, scratch_netns
from tests.support.streams import spray

pytestmark = pytest.mark.root

ONE, NEW, OTHER = (IPv4Address(f"10.9.{number}.2") for number in (1, 2, 3))
BARRED = 7777
# As felix has them (v3.24): a pod that it knows, and the end for all others.
FELIX = """
    for t in iptables-nft ip6tables-nft; do
        $t -N cali-FORWARD; $t -N cali-from-wl-dispatch; $t -N cali-fw-calione
        $t -A cali-FORWARD -i cali+ -m comment --comment "cali:8ZoYfO5HKXWbB3pk" \
            -j cali-from-wl-dispatch
        $t -A cali-from-wl-dispatch -i calione -m comment --comment "cali:9Xk0lSLnUnUnQnqG" \
            -g cali-fw-calione
        $t -A cali-from-wl-dispatch -m comment --comment "cali:zTj6P0TIgYvgz-md" -j DROP
        $t -A cali-fw-calione -p udp --dport 7777 -j DROP
        $t -A cali-fw-calione -j MARK --set-mark 0x10000/0x10000
        $t -A FORWARD -m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD
        $t -A FORWARD -m comment --comment "cali:S93hcgKJrXEqnTfs" -m mark \
            --mark 0x10000/0x10000 -j ACCEPT
        $t -A FORWARD -j ACCEPT
    done
"""
OURS = f"""table inet terway_policy {{
    chain forward {{
        type filter hook forward priority 10
        udp dport {BARRED} drop
    }}
}}
"""


@dataclass
class Told:
    """Who would tell the node."""

    texts: list[str] = field(default_factory=list)

    def tell_node(self, reason: str, message: str) -> None:
        self.texts.append(f"{reason}: {message}")

    def tell_pod(self, ref: PodRef, reason: str, message: str) -> None:
        raise AssertionError("no pod is to blame")


@contextmanager
def pod(link: str, address: IPv4Address) -> Iterator[ScratchNetns]:
    """Make a pod with its link on the node, which is the test's own namespace."""
    with scratch_netns(link) as made:
        name = made.path.rpartition("/")[2]
        sh(f"""
            ip link add {link} type veth peer name eth0 netns {name}
            ip link set {link} up
            ip address add 169.254.1.1/32 dev {link}
            ip route add {address}/32 dev {link}
        """)
        made.run(f"""
            ip link set eth0 up
            ip address add {address}/32 dev eth0
            ip route add default via 169.254.1.1 dev eth0 onlink
        """)
        yield made
        sh(f"ip link del {link}")


def _datagrams(inside: ScratchNetns) -> socket.socket:
    with inside.entered():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made


async def test_chains_go_when_our_policies_are_in_force_and_a_forbidden_packet_never_passes():
    """bug class 20: what an earlier version enforces goes, and there is no moment without."""
    sh("sysctl -qw net.ipv4.ip_forward=1")
    in_force, told = asyncio.Event(), Told()

    async def judged() -> None:
        await in_force.wait()
        nftables.run(OURS)

    keeper = RemainsKeeper(
        reconciled=asyncio.Event(), judged=judged, attachments=tuple, teller=told, period_s=0.01
    )
    with pod("calione", ONE) as one, pod("calinew", NEW) as new, pod("vother", OTHER) as other:
        sh(FELIX)
        with _datagrams(other) as barred, _datagrams(one) as sprayer:
            barred.bind((str(OTHER), BARRED))
            async with (
                traffic(one.path, other.path, OTHER) as flow,
                spray(sprayer, (OTHER, BARRED)),
                asyncio.TaskGroup() as tasks,
            ):
                running = tasks.create_task(keeper.run())
                keeper.reconciled.set()
                await flow.goes_on()
                assert not await asyncio.to_thread(new.pings, OTHER, wait_s=1)
                assert read_remains(Engine.FELIX).chains

                in_force.set()
                await running
                await flow.goes_on()
                assert await asyncio.to_thread(new.pings, OTHER)
            with pytest.raises(BlockingIOError):
                barred.recv(64)
    nftables.run("flush ruleset")
    (text,) = told.texts
    assert text.startswith("LeftoverCleaned: what felix left was removed: 3 chains of table ip")


def test_all_chains_of_felix_go_and_what_is_others_stays():
    with fresh_netns():
        sh(FELIX)
        nftables.run(OURS)

        found = read_remains(Engine.FELIX)
        lines = list(found.lines())
        remove_remains(found)

        assert {one.name for one in found.chains} == {
            "cali-FORWARD",
            "cali-from-wl-dispatch",
            "cali-fw-calione",
        }
        assert lines[0].startswith("3 chains of table ip filter")
        assert "4 rules in ip filter FORWARD, ip6 filter FORWARD" in lines
        left = sh("nft list ruleset")
        assert "cali" not in left
        assert "0x10000" not in left
        assert left.count("accept") >= 2  # what was others' in FORWARD, and its policy
        assert "udp dport 7777 drop" in left
        assert read_remains(Engine.FELIX).is_empty
        remove_remains(found.__class__(engine=Engine.FELIX))


def test_what_cilium_left_is_named_and_goes(tmp_path):
    pins = tmp_path / "tc/globals"
    pins.mkdir(parents=True)
    for name in ("cilium_ct4_global", "cilium_policy_v2_1", "terway_ours"):
        (pins / name).touch()
    (tmp_path / "cilium/devices").mkdir(parents=True)
    with fresh_netns():
        sh("""
            ip link add cilium_host type veth peer name cilium_net
            ip link add cali0 type veth peer name peer0
            ip rule add pref 9 fwmark 0x200/0xf00 lookup 2004
            ip rule add pref 512 to 10.0.0.1 lookup main
            iptables-nft -N CILIUM_FORWARD
            iptables-nft -A CILIUM_FORWARD -j ACCEPT
            iptables-nft -A FORWARD -m comment --comment "cilium-feeder: CILIUM_FORWARD" \
                -j CILIUM_FORWARD
            iptables-nft -t nat -N CILIUM_POST_nat
            iptables-nft -t nat -A POSTROUTING -j CILIUM_POST_nat
            iptables-nft -N KUBE-FORWARD
            iptables-nft -A FORWARD -j KUBE-FORWARD
        """)

        found = read_remains(Engine.CILIUM, bpffs=tmp_path)
        text = "\n".join(found.lines())
        remove_remains(found)

        for word in (
            "CILIUM_FORWARD",
            "CILIUM_POST_nat",
            "cilium_net",
            "9 to table 2004",
            "cilium_ct4_global",
        ):
            assert word in text
        assert read_remains(Engine.CILIUM, bpffs=tmp_path).is_empty
        assert "KUBE-FORWARD" in sh("iptables-nft -S FORWARD")
        assert "512:" in sh("ip rule")
        assert "cilium" not in sh("ip link")
        assert [one.name for one in pins.iterdir()] == ["terway_ours"]


def test_programs_of_cilium_at_a_link_go_and_ours_stay():
    with fresh_netns(), open_route_socket() as sock:
        program = SharedProgram(guard.OBJECT, guard.PROGRAM, hook=Hook.INGRESS, priority=130)
        lo = sock.index_of("lo")
        assert lo is not None
        fd = program.open(sock).fd
        theirs = put_program(
            lo, Hook.INGRESS, program_fd=fd, name="cil_from_netdev", priority=25000
        )
        for request in (*program.attach(sock, lo), theirs):
            sock.request(request)

        found = read_remains(Engine.CILIUM)
        remove_remains(found)

        assert next(iter(found.lines())) == "program cil_from_netdev at lo, ingress 25000"
        (kept,) = sock.query(attached_programs(lo, Hook.INGRESS))
        assert kept.priority == 130


def test_an_engine_that_runs_is_seen_by_its_process(tmp_path):
    (tmp_path / "17").mkdir()
    (tmp_path / "17/comm").write_text("calico-felix\n")
    with fresh_netns():
        assert read_remains(Engine.FELIX, proc=tmp_path).is_running
        assert not read_remains(Engine.CILIUM, proc=tmp_path).is_running


def test_tables_of_the_other_iptables_are_told(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net/ip_tables_names").write_text("filter\nnat\n")

    assert legacy_tables(tmp_path) == ("filter", "nat")
