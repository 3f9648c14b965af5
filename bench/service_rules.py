"""How does the field say Services in rules? As kube-proxy makes them, for iptables and nftables.

    iptables   KUBE-SERVICES, one rule a service ─► KUBE-SVC-… ─random─► KUBE-SEP-… ─► DNAT
    nftables   one map a family ─► service-… ─numgen random─► endpoint-… ─► dnat

Source: kubernetes/kubernetes 1.32, proxier.go of pkg/proxy/iptables and pkg/proxy/nftables. Names
of chains are shorter here; what a packet walks through is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

MASQUERADE_MARK = "0x4000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One endpoint of a service, TCP."""

    address: IPv4Address
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterService:
    """A service with a cluster IP and one TCP port."""

    name: str
    address: IPv4Address
    port: int
    backends: tuple[Backend, ...]


def iptables_rules(services: Sequence[ClusterService], pods: IPv4Network) -> str:
    """Return what ``iptables-restore`` reads; `pods` is kube-proxy's --cluster-cidr."""
    chains = [
        "KUBE-SERVICES",
        "KUBE-NODEPORTS",
        "KUBE-POSTROUTING",
        "KUBE-MARK-MASQ",
        *(f"KUBE-SVC-{one.name}" for one in services),
        *(f"KUBE-SEP-{one.name}-{i}" for one in services for i in range(len(one.backends))),
    ]
    lines = [
        "*nat",
        *(f":{chain} - [0:0]" for chain in chains),
        *_nat_frame(),
        *(line for one in services for line in _iptables_service(one, pods)),
        "-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",
        "COMMIT",
        *_filter_table(),
    ]
    return "\n".join(lines) + "\n"


def _nat_frame() -> Iterator[str]:
    yield "-A PREROUTING -j KUBE-SERVICES"
    yield "-A OUTPUT -j KUBE-SERVICES"
    yield "-A POSTROUTING -j KUBE-POSTROUTING"
    yield f"-A KUBE-MARK-MASQ -j MARK --or-mark {MASQUERADE_MARK}"
    mark = f"{MASQUERADE_MARK}/{MASQUERADE_MARK}"
    yield f"-A KUBE-POSTROUTING -m mark ! --mark {mark} -j RETURN"
    yield f"-A KUBE-POSTROUTING -j MARK --xor-mark {MASQUERADE_MARK}"
    yield "-A KUBE-POSTROUTING -j MASQUERADE --random-fully"


def _iptables_service(service: ClusterService, pods: IPv4Network) -> Iterator[str]:
    to_service = f"-m tcp -p tcp -d {service.address} --dport {service.port}"
    chain = f"KUBE-SVC-{service.name}"
    yield f"-A KUBE-SERVICES {to_service} -j {chain}"
    yield f"-A {chain} {to_service} ! -s {pods} -j KUBE-MARK-MASQ"
    count = len(service.backends)
    for i, backend in enumerate(service.backends):
        endpoint = f"KUBE-SEP-{service.name}-{i}"
        chance = f" -m statistic --mode random --probability {1 / (count - i):.10f}"
        yield f"-A {chain}{chance if i < count - 1 else ''} -j {endpoint}"
        yield f"-A {endpoint} -s {backend.address} -j KUBE-MARK-MASQ"
        target = f"{backend.address}:{backend.port}"
        yield f"-A {endpoint} -m tcp -p tcp -j DNAT --to-destination {target}"


def _filter_table() -> Iterator[str]:
    yield "*filter"
    yield ":KUBE-FORWARD - [0:0]"
    yield ":KUBE-SERVICES - [0:0]"  # services without endpoints; there are none
    for hook in ("INPUT", "FORWARD", "OUTPUT"):
        yield f"-A {hook} -m conntrack --ctstate NEW -j KUBE-SERVICES"
    yield "-A FORWARD -j KUBE-FORWARD"
    yield "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP"
    yield f"-A KUBE-FORWARD -m mark --mark {MASQUERADE_MARK}/{MASQUERADE_MARK} -j ACCEPT"
    yield "-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    yield "COMMIT"


def nftables_rules(
    services: Sequence[ClusterService], pods: IPv4Network, *, asked: ClusterService
) -> str:
    """Return what ``nft -f`` reads; `pods` is kube-proxy's --cluster-cidr.

    Only the service that is `asked` has chains of its own, all others share those of one: what a
    packet walks through is the same, and nft takes minutes for the chains of 10,000.
    """
    others = next((one for one in services if one != asked), asked)
    lines = [
        "table ip kube-proxy {",
        " chain mark-for-masquerade {",
        f"  meta mark set mark or {MASQUERADE_MARK}",
        " }",
        *(line for one in dict.fromkeys((asked, others)) for line in _nft_service(one, pods)),
        " map service-ips {",
        "  type ipv4_addr . inet_proto . inet_service : verdict",
        "  elements = {",
        *(
            f"   {one.address} . tcp . {one.port}"
            f" : goto service-{(asked if one == asked else others).name},"
            for one in services
        ),
        "  }",
        " }",
        *_nft_frame(),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _nft_service(service: ClusterService, pods: IPv4Network) -> Iterator[str]:
    for i, backend in enumerate(service.backends):
        yield f" chain endpoint-{service.name}-{i} {{"
        yield f"  ip saddr {backend.address} jump mark-for-masquerade"
        yield f"  meta l4proto tcp dnat to {backend.address}:{backend.port}"
        yield " }"
    chosen = ", ".join(f"{i} : goto endpoint-{service.name}-{i}" for i in _indexes(service))
    to_service = f"ip daddr {service.address} tcp dport {service.port}"
    yield f" chain service-{service.name} {{"
    yield f"  {to_service} ip saddr != {pods} jump mark-for-masquerade"
    yield f"  numgen random mod {len(service.backends)} vmap {{ {chosen} }}"
    yield " }"


def _indexes(service: ClusterService) -> range:
    return range(len(service.backends))


def _nft_frame() -> Iterator[str]:
    """Yield the chains at the hooks; without node ports, and services without endpoints."""
    yield " map no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict; }"
    yield " set cluster-ips { type ipv4_addr; }"
    yield " chain services { ip daddr . meta l4proto . th dport vmap @service-ips; }"
    yield " chain service-endpoints-check {"
    yield "  ip daddr . meta l4proto . th dport vmap @no-endpoint-services"
    yield " }"
    yield " chain cluster-ips-check { ip daddr @cluster-ips drop; }"
    yield " chain masquerading {"
    yield f"  mark and {MASQUERADE_MARK} == 0 return"
    yield f"  mark set mark xor {MASQUERADE_MARK}"
    yield "  masquerade fully-random"
    yield " }"
    yield " chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }"
    yield " chain nat-output { type nat hook output priority -100; jump services; }"
    yield " chain nat-postrouting { type nat hook postrouting priority srcnat; jump masquerading; }"
    yield " chain filter-forward {"
    yield "  type filter hook forward priority -110"
    yield "  ct state new jump service-endpoints-check"
    yield "  ct state new jump cluster-ips-check"
    yield " }"
