"""Services that come, change and go at an emulated cloud whose calls fail as they like.

What is looked at after each call: a port that serves goes on serving, by each pod that stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

from terway.cloud.nlb import NlbClient
from terway.cloud.openapi import Product
from terway.cloud.query import Value
from terway.cloud.slb import SlbClient
from terway.cloud.source_groups import SourceGroupClient
from terway.controlplane.balancers.rounds import Made, Products, Rounds
from terway.lab.cloud.balancer_records import (
    ClbListenerRecord,
    NlbListenerRecord,
    ServerGroupRecord,
    VServerGroupRecord,
)
from terway.lab.cloud.faults import Fault
from terway.lab.cloud.http_records import CertificateRecord
from terway.lab.cloud.inprocess import InProcessCaller
from terway.lab.cloud.transitions import Delays
from terway.loadbalancer.annotations import Settings
from terway.loadbalancer.values import NLB_CLASS, Cluster, Endpoint, Port, Service
from terway.loadbalancer.wanted import OWNER_TAG, Wanted, holdings_of, wanted_of
from terway.loadbalancer.web_annotations import WebSettings
from terway.model.address import Family, IPNetwork
from terway.model.balancer import ListenerProtocol
from terway.model.errors import VpcError
from terway.model.http_listener import HttpForwarding, StickySession, TlsTermination
from terway.model.ids import ENIId, RegionId
from tests.support.cloud_world import REGION, ZONE, CloudWorld, make_world

Answer = TypeVar("Answer")
Where = tuple[str, ListenerProtocol, int, int]
"""Whose, its protocol and port, and where it leads on to."""
NAMES = ("clb", "nlb")
CERTIFICATES = ("cert-1", "cert-2")
PODS = 4
LOST = Fault(loses_reply=True)
FAULTS = (
    Fault(code="InternalError", status=500),
    Fault(code="ServiceUnavailable", status=503),
    Fault(code="Throttling.User", status=400),
    Fault(code="SystemBusy", status=400),
    Fault(code="OperationFailed.ListenerStatusNotSupport", status=400),
    Fault(code="InternalError", status=500, burns_token=True),
    LOST,
)
SLOW = Fault(delay_s=30.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a Service is to be: ports, pods by number, which of them end, source ranges."""

    ports: frozenset[tuple[ListenerProtocol, int]]
    pods: frozenset[int]
    ending: frozenset[int] = frozenset()
    ranges: tuple[IPNetwork, ...] = ()
    leads_on: bool = False  # from HTTP to HTTPS, where there are both
    sticky: StickySession | None = None
    certificate_id: str = "cert-1"
    is_checked: bool = False

    def web(self, ports: frozenset[tuple[ListenerProtocol, int]]) -> WebSettings:
        """Return what of this is said of HTTP."""
        plain = [port for protocol, port in ports if protocol is ListenerProtocol.HTTP]
        ended = [port for protocol, port in ports if protocol is ListenerProtocol.HTTPS]
        return WebSettings(
            protocols=tuple(sorted(ports, key=str)),
            http=HttpForwarding(sticky=self.sticky),
            tls=TlsTermination(certificate_id=self.certificate_id) if ended else None,
            redirects=tuple((one, ended[0]) for one in plain if ended and self.leads_on),
            is_checked=self.is_checked,
        )


@dataclass
class Kept:
    """A Service as the API server has it."""

    name: str
    generation: int
    wish: Wish
    is_leaving: bool = False

    @property
    def owner(self) -> str:
        return f"a{self.name}{self.generation}"

    @property
    def ports(self) -> frozenset[tuple[ListenerProtocol, int]]:
        """The listeners' protocols: an NLB knows no HTTP."""
        if self.name != "nlb":
            return self.wish.ports
        return frozenset((protocol.transport, port) for protocol, port in self.wish.ports)

    @property
    def places(self) -> set[Where]:
        redirects = dict(self.wish.web(self.ports).redirects)
        return {
            (self.owner, one, port, redirects.get(port, 0) if one is ListenerProtocol.HTTP else 0)
            for one, port in self.ports
        }


@dataclass
class Story:
    """The cloud, the controller's hands, and what has to hold. `faults` are of the next calls."""

    faults: list[Fault | None]
    world: CloudWorld = field(init=False)
    kept: dict[str, Kept] = field(default_factory=dict)
    serving: dict[Where, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.world = make_world(delays=Delays(balancer_s=2.0, job_s=1.0))
        self.eni = self.world.create_eni(SecondaryPrivateIpAddressCount=str(PODS))
        addresses = self.world.cloud.world.state.enis[ENIId(self.eni)].ipv4[1:]
        self.addresses = tuple(addresses)
        zones = ((ZONE, self.world.pod_vswitch),)
        self.cluster = Cluster(cluster_id="c1", vpc_id=self.world.vpc_id, zones=zones)
        self.before = frozenset(self.world.cloud.world.state.groups)
        self.world.cloud.world.state.balancing.put(*map(certificate, CERTIFICATES))
        self._starts = 0
        self._made = 0
        self.restart()

    def restart(self) -> None:
        """Have the controller begin anew, with nothing in its memory."""
        self._starts += 1
        caller, region = FaultyCaller(self), RegionId(REGION)
        products = Products(
            slb=SlbClient(caller, region_id=region, slb_endpoint="here"),
            nlb=NlbClient(caller, region_id=region, nlb_endpoint="here"),
            sources=SourceGroupClient(caller, region_id=region, ecs_endpoint="here"),
        )
        self.finder = products.finder
        self.rounds = Rounds(products, lambda: self.cluster, seed=f"start-{self._starts}")

    def put(self, name: str, wish: Wish) -> None:
        """Create a Service, or change it. One that is being deleted stays so."""
        held = self.kept.get(name)
        if held is not None and held.is_leaving:
            return
        if held is None:
            self._made += 1
            held = self.kept[name] = Kept(name, self._made, wish)
        held.wish = wish
        stay = {str(self.addresses[one]) for one in wish.pods - wish.ending}
        for where in [one for one in self.serving if one[0] == held.owner]:
            if where in held.places:
                self.serving[where] &= stay
            else:
                del self.serving[where]

    def remove(self, name: str) -> None:
        """Delete a Service: it goes when nothing of it is left."""
        held = self.kept.get(name)
        if held is not None:
            held.is_leaving = True
            self.serving = {w: who for w, who in self.serving.items() if w[0] != held.owner}

    async def round(self) -> None:
        """Look at each Service once; what fails is looked at again in the next round."""
        for held in tuple(self.kept.values()):
            with suppress(VpcError):
                if not held.is_leaving:
                    await self.made(held)
                elif await self._leave(held):
                    del self.kept[held.name]
        self.world.pass_time(1.0)

    async def made(self, held: Kept) -> Made:
        return await self.rounds.make(self.wanted(held))

    async def _leave(self, held: Kept) -> bool:
        for one in holdings_of(self._service(held), "", self.cluster):
            if not await self.rounds.take_away(one, spare=""):
                return False
        return True

    def _service(self, held: Kept) -> Service:
        return Service(
            namespace="default",
            name=held.name,
            uid=held.owner[1:],
            ports=tuple(
                Port(name="", protocol=protocol.transport, port=port)
                for protocol, port in sorted(held.ports, key=str)
            ),
            families=(Family.V4,),
            load_balancer_class=NLB_CLASS if held.name == "nlb" else "",
            source_ranges=held.wish.ranges,
        )

    def wanted(self, held: Kept) -> Wanted:
        endpoints = [
            Endpoint(
                address=self.addresses[one],
                ports={"": 8080},
                is_terminating=one in held.wish.ending,
                eni_id=ENIId(self.eni),
            )
            for one in sorted(held.wish.pods)
        ]
        said = Settings(web=held.wish.web(held.ports))
        (wanted,) = wanted_of(self._service(held), said, endpoints, self.cluster)
        return wanted

    def check(self) -> None:
        """See that who served still serves, and remember who serves now."""
        now = dict(self._serving_now())
        for where, who in self.serving.items():
            assert who <= now.get(where, frozenset()), f"{where} was interrupted"
        for held in self.kept.values():
            wished = {str(self.addresses[one]) for one in held.wish.pods - held.wish.ending}
            for where, who in now.items():
                if where in held.places and not held.is_leaving:
                    self.serving[where] = self.serving.get(where, frozenset()) | (who & wished)

    def _serving_now(self) -> Iterator[tuple[Where, frozenset[str]]]:
        held = self.world.cloud.world.state.balancing
        listener: ClbListenerRecord | NlbListenerRecord
        group: VServerGroupRecord | ServerGroupRecord
        for listener in held.clb_listeners.values():
            if listener.is_running:
                owner = dict(held.clbs[listener.balancer_id].tags).get(OWNER_TAG, "")
                group = held.vserver_groups[listener.group_id]
                protocol = ListenerProtocol(listener.protocol.upper())
                target = listener.http.redirect_port if listener.http is not None else 0
                yield (owner, protocol, listener.port, target), _who(group)
        for listener in held.nlb_listeners.values():
            if listener.is_running:
                owner = dict(held.nlbs[listener.balancer_id].tags).get(OWNER_TAG, "")
                group = held.server_groups[listener.group_id]
                yield (owner, ListenerProtocol(listener.protocol), listener.port, 0), _who(group)

    def left(self) -> dict[str, int]:
        """Return how many things of load balancing there are, by kind."""
        state = self.world.cloud.world.state
        held = state.balancing
        return {
            "clb": len(held.clbs),
            "nlb": len(held.nlbs),
            "clb groups": len(held.vserver_groups),
            "nlb groups": len(held.server_groups),
            "listeners": len(held.clb_listeners) + len(held.nlb_listeners),
            "lists": len(held.acls),
            "security groups": len(state.groups.keys() - self.before),
        }

    def due(self) -> dict[str, int]:
        """Return what `left` has to say, by what is wanted."""
        wishes = {one.name: one.wish for one in self.kept.values()}
        ports = dict.fromkeys(NAMES, 0) | {one.name: len(one.ports) for one in self.kept.values()}
        ranged = {name: int(name in wishes and bool(wishes[name].ranges)) for name in NAMES}
        return {
            "clb": int("clb" in wishes),
            "nlb": int("nlb" in wishes),
            "clb groups": ports["clb"],
            "nlb groups": ports["nlb"],
            "listeners": sum(ports.values()),
            "lists": ranged["clb"],
            "security groups": ranged["nlb"],
        }


def certificate(certificate_id: str) -> CertificateRecord:
    """A certificate by its name alone: nobody speaks TLS here."""
    return CertificateRecord(
        id=certificate_id,
        serial=0,
        name=certificate_id,
        certificate_pem="",
        key_pem="",
        fingerprint="",
        common_name="",
        names=(),
        created_at=0.0,
        expires_at=0.0,
    )


def _who(group: VServerGroupRecord | ServerGroupRecord) -> frozenset[str]:
    return frozenset(one.ip for one in group.servers if one.weight)


class FaultyCaller:
    """Takes the place of the cloud's client; each call may go wrong in its own way."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._inner = InProcessCaller(story.world.cloud)

    async def call(
        self,
        product: Product,
        action: str,
        parameters: Mapping[str, Value],
        answer: type[Answer],
    ) -> Answer:
        """Perform a call; then see that nobody was interrupted."""
        story = self._story
        fault = story.faults.pop(0) if story.faults else None
        if fault is not None:
            story.world.cloud.faults.add(replace(fault, action=action))
        try:
            return await self._inner.call(product, action, parameters, answer)
        finally:
            story.world.cloud.faults.clear()
            story.world.pass_time(fault.delay_s if fault is not None else 0.0)
            story.check()
