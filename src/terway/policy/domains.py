"""Which addresses did a domain name have, as far as answers tell?

Nobody here asks a name server: answers come from a case, or from who observed them.
Source: policy.networking.k8s.io/v1alpha2, DomainName.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_network

from terway.model.address import IPAddress, IPNetwork

Answers = Mapping[str, Collection[IPAddress]]  # the name that was asked, and its addresses
NO_ANSWERS: Answers = {}


def has_domain(pattern: str, name: str) -> bool:
    """Return whether `name` is meant; `*.` is one or more labels, so not the bare name."""
    wanted, asked = _plain(pattern), _plain(name)
    if wanted.startswith("*."):
        return asked.endswith(wanted[1:]) and len(asked) > len(wanted) - 1
    return asked == wanted


def addresses_of(patterns: Iterable[str], answers: Answers) -> tuple[IPNetwork, ...]:
    """Return a block for every address of every name that one of `patterns` means."""
    wanted = tuple(patterns)
    found = {
        address
        for name, addresses in answers.items()
        if any(has_domain(pattern, name) for pattern in wanted)
        for address in addresses
    }
    return tuple(ip_network(address) for address in sorted(found, key=_order))


def _order(address: IPAddress) -> tuple[int, int]:
    return address.version, int(address)


def _plain(name: str) -> str:
    return name.lower().rstrip(".")
