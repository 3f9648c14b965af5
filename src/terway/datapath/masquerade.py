"""What the node translates for pods with an ENI of their own, and what of theirs it forwards.

Such a pod's address is the ENI's, not the node's. What the node forwards for it (a service's
backend elsewhere) would leave by eth0 with a source that the VPC refuses there; and what the node
forwards to it from elsewhere (a NodePort) would be answered past the node, by the ENI. Both get the
node's own address, to which the pod answers by the node. Source: upstream Terway, `terway-masq`,
which translates whatever leaves the node.

Whoever has the node's address is the node for policies elsewhere. So a pod is lent it for what the
node itself made of its packets: services, and host_stack_cidrs. What it sends by its second leg to
anybody else (a route of its own, a raw frame) is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from terway.datapath.exclusive import LEG_GROUP
from terway.datapath.facts import NodeFacts
from terway.datapath.names import HOST_LINK_PREFIX
from terway.model.address import Family, IPAddress, IPNetwork, family_of
from terway.model.network import MAIN_TABLE, RoutingRule

TABLE = "inet terway_masq"
_PRIORITY = 99  # srcnat is 100: whoever translates the node's own traffic finds ours done
_MARK = 0x200000  # one bit: neither of kube-proxy, Calico nor symmetric routing
_BACK_PRIORITY = 511  # before the rules of pods' addresses
_WORDS = {Family.V4: "ip", Family.V6: "ip6"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Legs:
    """How second legs are told from other links, as the one that packets come or go by."""

    came: str
    go: str


# On a node that shares no ENI every link of a pod is one.
_ALL = _Legs(came=f'iifname "{HOST_LINK_PREFIX}*"', go=f'oifname "{HOST_LINK_PREFIX}*"')
_OF_GROUP = _Legs(came=f"iifgroup {LEG_GROUP}", go=f"oifgroup {LEG_GROUP}")


def masquerade(node: NodeFacts, *, is_shared: bool = False) -> str:
    """Return the table's body, in the words of nft(8).

    On a node that `is_shared` most links of pods are no second legs, and none of its business.
    """
    legs = _OF_GROUP if is_shared else _ALL
    rules = [rule for address in node.addresses for rule in _rules(address, legs)]
    translated = _chain("postrouting", f"nat hook postrouting priority {_PRIORITY}", rules)
    forwarded = _chain("forward", "filter hook forward priority 0", _forwarded(node, legs))
    marked = _chain("prerouting", "filter hook prerouting priority mangle", _marked(legs))
    return f"{{\n{translated}{forwarded}{marked if is_shared else ''}}}\n"


def way_back(families: Iterable[Family]) -> tuple[RoutingRule, ...]:
    """Return what leads answers of shared pods to what a second leg asked back to the leg.

    Else they would follow the rule of their own address to an ENI, once the translation is undone.
    """
    return tuple(
        RoutingRule(
            family=family, priority=_BACK_PRIORITY, table=MAIN_TABLE, fwmark=_MARK, fwmask=_MARK
        )
        for family in families
    )


def _marked(legs: _Legs) -> tuple[str, str]:
    """Return what marks connections that legs began, and what of shared pods answers them."""
    answer = f'iifname "{HOST_LINK_PREFIX}*" ct direction reply'
    return (
        f"{legs.came} ct direction original ct mark set ct mark or {_MARK:#x}",
        f"{answer} ct mark and {_MARK:#x} == {_MARK:#x} meta mark set meta mark or {_MARK:#x}",
    )


def _chain(name: str, hook: str, rules: Iterable[str]) -> str:
    lines = "".join(f"    {rule}\n" for rule in rules)
    return f"  chain {name} {{\n    type {hook}; policy accept;\n{lines}  }}\n"


def _forwarded(node: NodeFacts, legs: _Legs) -> Iterator[str]:
    """Yield what the node forwards of what pods send by their second legs; the rest is dropped."""
    yield f'{legs.came} oifname "{HOST_LINK_PREFIX}*" accept'  # policies judge both ends here
    yield f"{legs.came} ct direction reply accept"
    yield f"{legs.came} ct status dnat accept"
    for network in node.host_stack_cidrs:
        yield f"{legs.came} {_destination(network)} accept"
    yield f"{legs.came} drop"


def _destination(network: IPNetwork) -> str:
    return f"{_WORDS[family_of(network)]} daddr {network}"


def _rules(address: IPAddress, legs: _Legs) -> tuple[str, ...]:
    word = _WORDS[family_of(address)]
    # Random ports: two pods that ask at the same moment must not race for the next one.
    action = f"snat {word} to {address} fully-random"
    return (
        f"meta nfproto {_protocol(address)} {legs.came} {action}",
        f"{word} saddr != {address} {legs.go} {action}",
    )


def _protocol(address: IPAddress) -> str:
    return "ipv4" if family_of(address) is Family.V4 else "ipv6"
