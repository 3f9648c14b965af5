"""What the node translates for pods with an ENI of their own.

Such a pod's address is the ENI's, not the node's. What the node forwards for it (a service's
backend elsewhere) would leave by eth0 with a source that the VPC refuses there; and what the node
forwards to it from elsewhere (a NodePort) would be answered past the node, by the ENI. Both get the
node's own address, to which the pod answers by the node. Source: upstream Terway, `terway-masq`,
which translates whatever leaves the node.
"""

from __future__ import annotations

from terway.datapath.facts import NodeFacts
from terway.datapath.names import HOST_LINK_PREFIX
from terway.model.address import Family, IPAddress, family_of

TABLE = "inet terway_masq"
_PRIORITY = 99  # srcnat is 100: whoever translates the node's own traffic finds ours done
_WORDS = {Family.V4: "ip", Family.V6: "ip6"}


def masquerade(node: NodeFacts) -> str:
    """Return the table's body, in the words of nft(8)."""
    rules = [rule for address in node.addresses for rule in _rules(address)]
    lines = "".join(f"    {rule}\n" for rule in rules)
    return (
        "{\n"
        "  chain postrouting {\n"
        f"    type nat hook postrouting priority {_PRIORITY}; policy accept;\n"
        f"{lines}"
        "  }\n"
        "}\n"
    )


def _rules(address: IPAddress) -> tuple[str, ...]:
    word = _WORDS[family_of(address)]
    # Random ports: two pods that ask at the same moment must not race for the next one.
    action = f"snat {word} to {address} fully-random"
    return (
        f'meta nfproto {_protocol(address)} iifname "{HOST_LINK_PREFIX}*" {action}',
        f'{word} saddr != {address} oifname "{HOST_LINK_PREFIX}*" {action}',
    )


def _protocol(address: IPAddress) -> str:
    return "ipv4" if family_of(address) is Family.V4 else "ipv6"
