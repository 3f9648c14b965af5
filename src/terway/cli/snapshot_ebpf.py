"""What has the kernel of a node's eBPF data path? The part of a snapshot that its maps tell."""

from __future__ import annotations

from dataclasses import dataclass

from terway.model.address import IPAddress, IPNetwork
from terway.model.attachment import AttachmentKey
from terway.model.endpoint import Endpoint
from terway.model.programs import NodeKnowledge


@dataclass(frozen=True, slots=True, kw_only=True)
class MapView:
    """A pinned map. `entries` None: not counted, or of a kind that is always full."""

    name: str
    max_entries: int
    memory_bytes: int
    entries: int | None = None
    forgets: bool = False  # the oldest entry makes room for a new one: full is usual


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointView:
    """An endpoint as the kernel has it, and its link's number on the node."""

    endpoint: Endpoint
    link: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalView:
    """Whom an address of this node leads to: an endpoint's number; None: the node itself."""

    address: IPAddress
    endpoint: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LossView:
    """What an endpoint has lost for a reason. Endpoint 0: nobody's."""

    endpoint: int
    reason: str
    meaning: str
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HookView:
    """A program of the data path at a hook of a device; no `pod`: of the node.

    `tag` is of its instructions: equal programs have equal tags.
    """

    device: str
    ifindex: int
    hook: str  # "ingress" or "egress"
    program: str
    number: int
    tag: str
    is_tcx: bool = False
    pod: AttachmentKey | None = None  # inside whose namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendView:
    """A backend of a service."""

    number: int
    address: IPAddress
    port: int
    is_terminating: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceView:
    """A connection of a pod to a frontend, and the backend that it has."""

    source: IPAddress
    source_port: int
    backend: int
    is_there: bool  # whether the backend still is


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendView:
    """What the kernel has of a service's address and port that somebody asked about.

    `is_known` False: no such frontend. `is_in_ranges` False: it has source ranges, and the pod that
    asks is in none of them. `backends` are those that pods may get, `outside`
    those of who comes from outside.
    """

    address: IPAddress
    port: int
    protocol: str
    is_known: bool = False
    has_affinity: bool = False
    has_source_ranges: bool = False
    is_in_ranges: bool = True
    backends: tuple[BackendView, ...] = ()
    outside: tuple[BackendView, ...] = ()
    choices: tuple[ChoiceView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPathView:
    """The data path in the kernel. `node` None: it does not know its uplink.

    `links` are the endpoints of links by ifindex.
    """

    layout: int
    does_services: bool = False
    lacks_sockets: bool = False  # the node's processes reach services by its uplink only
    does_policy: bool = False
    does_node_in: bool = False
    node: NodeKnowledge | None = None
    host_stack: tuple[IPNetwork, ...] = ()
    maps: tuple[MapView, ...] = ()
    endpoints: tuple[EndpointView, ...] = ()
    locals: tuple[LocalView, ...] = ()
    links: tuple[tuple[int, int], ...] = ()
    hooks: tuple[HookView, ...] = ()
    losses: tuple[LossView, ...] = ()
    frontends: tuple[FrontendView, ...] = ()

    def endpoint(self, number: int | None) -> EndpointView | None:
        """Return an endpoint by its number."""
        found = (one for one in self.endpoints if one.endpoint.number == number)
        return next(found, None)

    def local(self, address: IPAddress) -> LocalView | None:
        """Return whom an address leads to; None: nobody of this node."""
        return next((one for one in self.locals if one.address == address), None)

    def frontend(self, address: IPAddress, port: int | None, protocol: str) -> FrontendView | None:
        """Return what is known of a service's address that was asked about."""
        asked = (address, port, protocol)
        found = (one for one in self.frontends if (one.address, one.port, one.protocol) == asked)
        return next(found, None)

    @property
    def memory_bytes(self) -> int:
        """Return the kernel memory of all maps."""
        return sum(one.memory_bytes for one in self.maps)
