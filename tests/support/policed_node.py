"""A node that forwards between pods on veths, and the policy table that judges them there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address

from terway.linux.netns import open_netns
from terway.linux.nfnetlink.tables import open_nft_socket
from terway.model.address import Family, IPAddress
from terway.model.nft import Table, Transactions
from terway.policy.cluster import PodKey, Protocol
from terway.policy.compiled import ClassId, Compiled, RuleSet, RuleSetId, Sides
from terway.policy.nft.names import TABLE
from terway.policy.nft.printer import Printer
from terway.policy.nft.skeleton import Options, Place
from terway.policy.policies import Direction
from terway.policy.ports import NOTHING, PortSet, ports_of
from tests.support.netns import ScratchNetns, scratch_netns
from tests.support.wires import FENCE, End

PODS = ("a", "b")
# What every rule set of a test leaves open, so that it is known when nothing more will arrive.
FENCE_ONLY = ports_of(Protocol.UDP, FENCE, FENCE)


@dataclass(slots=True)
class PolicedNode:
    """Pods `a` and `b`, each in a network of its own, and the node between them.

    a  10.0.1.1, fd00:1::1 ── calia ─ node ─ calib ── 10.0.2.1, fd00:2::1  b
    """

    node: ScratchNetns
    pods: Mapping[str, ScratchNetns]
    options: Options = field(default_factory=Options)
    _printers: dict[str, Printer] = field(default_factory=dict)

    def end(self, name: str, family: Family) -> End:
        """Return a pod, or the node as pod a sees it, as an end of a family."""
        if name == "node":
            return End(netns_path=self.node.path, address=_gateway(1, family))
        return End(netns_path=self.pods[name].path, address=address_of(name, family))

    def enforce(self, wish: Compiled, place: str = "node") -> None:
        """Have `wish` in force, whatever was before; at the node or inside a pod."""
        kind, hooks = Place.POD, {key_of(place): "eth0"}
        if place == "node":
            kind, hooks = Place.NODE, {key_of(name): f"cali{name}" for name in PODS}
        printer = self._printers.setdefault(place, Printer(kind, self.options))
        self.carry_out(printer.adopt(wish, hooks, self.read(place)), place)

    def carry_out(self, transactions: Transactions, place: str = "node") -> None:
        """Change the table."""
        path = self.node.path if place == "node" else self.pods[place].path
        with open_netns(path) as opened, open_nft_socket(opened.fd) as sock:
            sock.change(TABLE, transactions)

    def read(self, place: str = "node") -> Table | None:
        """Return the table that is in force."""
        path = self.node.path if place == "node" else self.pods[place].path
        with open_netns(path) as opened, open_nft_socket(opened.fd) as sock:
            return sock.read(TABLE)


def key_of(name: str) -> PodKey:
    """Return the key of a pod."""
    return PodKey(namespace="x", name=name)


def address_of(name: str, family: Family) -> IPAddress:
    """Return a pod's address."""
    number = PODS.index(name) + 1
    return ip_address(f"10.0.{number}.1" if family is Family.V4 else f"fd00:{number}::1")


def _gateway(number: int, family: Family) -> IPAddress:
    return ip_address(f"10.0.{number}.254" if family is Family.V4 else f"fd00:{number}::fe")


def only(
    direction: Direction, ports: PortSet, *, pod: str = "b", other: str = "a", to_node: bool = False
) -> Compiled:
    """Return policies by which `pod` talks with `other` on `ports` (and the fence) only."""
    rule_set = RuleSet(
        direction=direction, default=NOTHING, verdicts={ClassId(1): ports | FENCE_ONLY}
    )
    number = RuleSetId(1)
    sides = Sides(
        ingress=number if direction is Direction.INGRESS else None,
        egress=number if direction is Direction.EGRESS and not to_node else None,
        own_node=number if to_node else None,
    )
    hosts = [
        _gateway(1, family) if other == "node" else address_of(other, family) for family in Family
    ]
    return Compiled(
        hosts=dict.fromkeys(hosts, ClassId(1)),
        rule_sets={number: rule_set},
        sides={key_of(pod): sides},
    )


@contextmanager
def policed_node() -> Iterator[PolicedNode]:
    """Make the node and its pods for the block."""
    with ExitStack() as stack:
        node = stack.enter_context(scratch_netns("policed"))
        node.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
        pods = {name: stack.enter_context(scratch_netns(f"pod-{name}")) for name in PODS}
        for number, (name, pod) in enumerate(pods.items(), 1):
            _plug(node, pod, name, number)
        yield PolicedNode(node, pods)


def _plug(node: ScratchNetns, pod: ScratchNetns, name: str, number: int) -> None:
    for netns in (node, pod):
        netns.run("sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0")
    node.run(
        f"ip link add cali{name} type veth peer name eth0 netns {pod.path}\n"
        f"ip link set cali{name} up\n"
        f"ip addr add {_gateway(number, Family.V4)}/24 dev cali{name}\n"
        f"ip addr add {_gateway(number, Family.V6)}/64 dev cali{name} nodad"
    )
    pod.run(
        "ip link set eth0 up\n"
        f"ip addr add {address_of(name, Family.V4)}/24 dev eth0\n"
        f"ip addr add {address_of(name, Family.V6)}/64 dev eth0 nodad\n"
        f"ip route add default via {_gateway(number, Family.V4)}\n"
        f"ip -6 route add default via {_gateway(number, Family.V6)}"
    )
