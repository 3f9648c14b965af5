"""Do the policies of the cluster let a packet through? The hop of a walk that is no place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from terway.cli.hops import Hop, Packet, fail, ok, unknown
from terway.cli.place import find_place
from terway.cli.policy_maps import read_policy_maps
from terway.cli.policy_objects import Manifests, manifests_of
from terway.cli.policy_read import LIVE, read_bundled, read_objects
from terway.cli.read_node import read_agent_config
from terway.cli.second_addresses import Owners, judge_by_owners
from terway.cli.snapshot_policy import PolicyView
from terway.model.errors import UsageError, VpcError
from terway.model.policy_maps import Content
from terway.policy.cluster import Protocol
from terway.policy.flow import AddressEnd, Because, Flow, Verdict
from terway.policy.words import describe

_WHERE = "policies"
_PROTOCOLS = {"tcp": Protocol.TCP, "udp": Protocol.UDP, "sctp": Protocol.SCTP}
# What decides whatever the port is.
_PORTLESS = (Because.SELF, Because.OWN_NODE, Because.DEFAULT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The cluster's policies; None with the reason for which they are not known.

    `maps` are what a data path in eBPF goes by; None where there are none, or for a bundle.
    """

    manifests: Manifests | None = None
    reason: str = ""
    are_off: bool = False
    maps: Content | None = None


def read_rules(bundle: str, policy: PolicyView | None = None, **where: str) -> Rules:
    """Return the policies of the cluster as they are now, or were for a bundle; `policy` is its."""
    try:
        found = read_bundled(Path(bundle)) if bundle else read_objects([LIVE], **where)
        manifests = manifests_of(found)
    except VpcError as error:
        return Rules(reason=str(error))
    if bundle:
        return Rules(manifests=manifests, are_off=policy is not None and not policy.is_wanted)
    return Rules(manifests=manifests, are_off=_are_off(**where), maps=_maps(**where))


def _maps(**where: str) -> Content | None:
    try:
        return read_policy_maps(find_place(**where).pins)
    except VpcError:
        return None  # without the privileges the rest has said so


def _are_off(**where: str) -> bool:
    try:
        return not read_agent_config(find_place(**where)).wants_policy
    except VpcError:
        return False  # what is not known to be off may be on


def policy_hops(
    rules: Rules, packet: Packet, owners: Owners = MappingProxyType({})
) -> Iterator[Hop]:
    """Yield what the policies say to a packet: one hop. `owners` are of second addresses."""
    if rules.manifests is None:
        yield unknown(_WHERE, "verdict", f"not known: {rules.reason}")
        return
    if not rules.manifests.policies:
        yield ok(_WHERE, "verdict", "there is none in the cluster")
        return
    flow = Flow(
        source=AddressEnd(address=packet.source),
        destination=AddressEnd(address=packet.destination),
        protocol=_PROTOCOLS.get(packet.protocol, Protocol.OTHER),
        port=packet.port or 0,
        via_service=packet.service is not None,
    )
    try:
        known = rules.manifests
        verdict = judge_by_owners(known.cluster, known.policies, flow, owners)
    except UsageError as error:
        yield unknown(_WHERE, "verdict", str(error))
        return
    yield _hop(rules, packet, verdict)


def _hop(rules: Rules, packet: Packet, verdict: Verdict) -> Hop:
    text = describe(verdict)
    sides = [one for one in (verdict.egress, verdict.ingress) if one is not None]
    depends = any(one.because not in _PORTLESS for one in sides)
    if packet.port is None and packet.protocol in _PROTOCOLS and depends:
        return unknown(_WHERE, "verdict", "they may tell ports apart: write DST:PORT")
    if verdict.is_allowed:
        return ok(_WHERE, "verdict", text)
    if rules.are_off:
        off = "NetworkPolicy is off here, and only nodes where it is on would enforce: "
        return ok(_WHERE, "verdict", off + text)
    remedy = "allow it in a policy; terwayd enforces what they say: terway-cli policy explain"
    sides_of = ((packet.source, verdict.egress), (packet.destination, verdict.ingress))
    at = tuple(end for end, side in sides_of if side is not None and not side.is_allowed)
    return replace(fail(_WHERE, "verdict", text, remedy), denied_at=at)
