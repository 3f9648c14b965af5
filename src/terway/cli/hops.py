"""What is a walk made of: a packet, hops, and what is known where it walks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from terway.cli.fib import Decision, decide
from terway.cli.snapshot import CloudView, KernelView, PodView, Snapshot
from terway.datapath.names import table_of
from terway.linux.inspect import Seen
from terway.model.address import IPAddress, IPNetwork, family_of
from terway.model.attachment import Attachment
from terway.model.eni import ENI
from terway.model.ids import ENIId, MacAddress
from terway.model.network import Link


class State(Enum):
    """What was found at a hop."""

    OK = "ok"
    FAIL = "FAIL"
    UNKNOWN = "?"  # nobody could be asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One station: where, what was looked at, what was found; a failure has its remedy.

    `denied_at` are the ends of the packet whose policies deny it.
    """

    where: str
    what: str
    state: State
    text: str
    remedy: str = ""
    denied_at: tuple[IPAddress, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A packet of a pod. `port` None: not told, or a protocol without ports.

    `service` is the ClusterIP that the pod sends to, where the node makes `destination` of it.
    """

    source: IPAddress
    destination: IPAddress
    protocol: str = "tcp"  # as security groups spell it
    port: int | None = None
    service: IPAddress | None = None

    def __str__(self) -> str:
        end = str(self.destination)
        if self.port is not None:
            end = f"[{end}]:{self.port}" if self.destination.version == 6 else f"{end}:{self.port}"
        return f"{self.protocol} {self.source} -> {end}"

    def reply(self) -> Packet:
        """Return the packet that answers."""
        return Packet(source=self.destination, destination=self.source, protocol=self.protocol)


def ok(where: str, what: str, text: str) -> Hop:
    """Return a hop that is as it should be."""
    return Hop(where=where, what=what, state=State.OK, text=text)


def fail(where: str, what: str, text: str, remedy: str) -> Hop:
    """Return the hop at which the packet ends."""
    return Hop(where=where, what=what, state=State.FAIL, text=text, remedy=remedy)


def unknown(where: str, what: str, text: str) -> Hop:
    """Return a hop that nobody could be asked about."""
    return Hop(where=where, what=what, state=State.UNKNOWN, text=text)


def has_address(eni: ENI, address: IPAddress) -> bool:
    """Return whether an ENI has an address: one by one, or within a prefix."""
    if address in (*eni.ipv4, *eni.ipv6):
        return True
    prefixes: tuple[IPNetwork, ...] = (*eni.ipv4_prefixes, *eni.ipv6_prefixes)
    return any(address.version == one.version and address in one for one in prefixes)


class Ground:
    """What a snapshot knows, found by address, key or MAC. All lookups return None for nothing."""

    def __init__(self, snapshot: Snapshot, kernel: KernelView) -> None:
        self.snapshot = snapshot
        self.kernel = kernel
        self.node: Seen = kernel.node
        self.cloud: CloudView | None = snapshot.cloud
        journal = snapshot.journal
        self._attachments = journal.attachments if journal else ()

    def attachment(self, address: IPAddress) -> Attachment | None:
        """Return the attachment on this node that has an address."""
        found = (one for one in self._attachments if address in tuple(one.lease.addresses))
        return next(found, None)

    def siblings(self, attachment: Attachment) -> tuple[Attachment, ...]:
        """Return all attachments that came with one ADD, that one among them."""
        return tuple(one for one in self._attachments if one.owner == attachment.owner)

    def view(self, attachment: Attachment) -> PodView | None:
        """Return the kernel's state of an attachment."""
        return next((one for one in self.kernel.pods if one.key == attachment.key), None)

    def link(self, mac: MacAddress) -> Link | None:
        """Return the node's link of an ENI."""
        links = (one for one in self.node.links if one.mac == mac and one.kind in ("", "veth"))
        return next(links, None)

    def eni(self, address: IPAddress) -> ENI | None:
        """Return the ENI that the cloud says has an address."""
        if self.cloud is None:
            return None
        enis = (*self.cloud.enis, *self.cloud.peers)
        return next((one for one in enis if has_address(one, address)), None)

    def route(self, packet: Packet, iif: str) -> Decision:
        """Return the node's decision: by the kernel's own word where it was asked."""
        for one in self.kernel.lookups:
            asked = (one.destination, one.source, one.iif)
            if asked == (packet.destination, packet.source, iif):
                known = decide(self.node, packet.destination, source=packet.source, iif=iif)
                return Decision(route=one.route, rule=known.rule, refusal=one.refusal)
        return decide(self.node, packet.destination, source=packet.source, iif=iif)

    def sysctl(self, path: str) -> str | None:
        """Return a setting of the node's namespace, None when it was not read."""
        return next((one.value for one in self.node.sysctls if one.path == path), None)

    def rule_words(self, address: IPAddress, link: Link) -> str:
        """Return the command that leads a pod's packets to its ENI's table."""
        family = "-6 " if family_of(address).value == 6 else ""
        return f"ip {family}rule add from {address} priority 2048 lookup {table_of(link.ifindex)}"


RESTART_AGENT = (
    "kubectl -n kube-system delete pod -l app=terway, or terway-lab restart-agent NODE in a lab "
    "(terwayd mends it at start)"
)


def plug_words(snapshot: Snapshot, eni_id: ENIId) -> str:
    """Return the command that brings an ENI's link back: attach it, or look at the bus again."""
    cloud, instance = snapshot.cloud, snapshot.instance
    if cloud is None or instance is None or any(one.id == eni_id for one in cloud.enis):
        return "echo 1 > /sys/bus/pci/rescan"
    ends = f"--NetworkInterfaceId {eni_id} --InstanceId {instance.instance_id}"
    return f"aliyun ecs AttachNetworkInterface {ends}"


def cloud_words(snapshot: Snapshot, eni_id: ENIId) -> str:
    """Return what the cloud says of an ENI that the node should have."""
    if snapshot.cloud is None:
        return "the cloud could not be asked about it"
    found = next((one for one in snapshot.cloud.enis if one.id == eni_id), None)
    state = f"is {found.status.value}" if found else "is not attached to this instance"
    return f"by the cloud it {state}"
