"""What do upstream's policy engines leave in a node, and how does it go? Blocking; for workers.

felix    chains cali-… of iptables, and its rules in the chains of others: they go on judging, by
         policies of the day it ended, and drop what comes from a pod that it does not know
Cilium   chains CILIUM_…; programs cil_… at links; its links, rules and what it pinned

All chains of an engine go in one transaction: no packet meets half of them. Nothing is removed
while the engine runs. Tables of iptables-legacy are only told.
Source: felix v3.24, rules/static.go, rule_defs.go; Cilium v1.18, pkg/datapath/iptables,
pkg/datapath/linux/linux_defaults (rules 9 and 10, tables 2004 and 2005), loader (cil_ programs).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from terway.linux import nftables
from terway.linux.netlink import link, rule, traffic
from terway.linux.netlink.codec import Request
from terway.linux.netlink.socket import RouteSocket, open_route_socket
from terway.linux.netlink.traffic import Hook
from terway.linux.nft_chains import NftChain, list_chains
from terway.linux.nft_rules import NftRule, list_rules
from terway.model.network import RoutingRule

_PROC, _BPFFS = Path("/proc"), Path("/sys/fs/bpf")
_LEGACY = ("net/ip_tables_names", "net/ip6_tables_names")
_CILIUM_RULES = frozenset({(9, 2004), (10, 2005)})
_CILIUM_LINKS = ("cilium_net", "cilium_host", "cilium_vxlan", "cilium_geneve")
_NAMED = 4


class Engine(Enum):
    """A policy engine of upstream's; the values are the names of its processes."""

    FELIX = ("calico-felix", "calico-node")
    CILIUM = ("cilium-agent",)

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Return how the names of its chains begin."""
        return ("cali-",) if self is Engine.FELIX else ("CILIUM_", "OLD_CILIUM_")

    @property
    def mark(self) -> bytes:
        """Return what is in the comment of each rule of its own in other chains."""
        return b"cali:" if self is Engine.FELIX else b"cilium-feeder: "


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignProgram:
    """A program of Cilium's at a hook of a link."""

    link: str
    ifindex: int
    hook: Hook
    name: str
    priority: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """What there is of one engine."""

    engine: Engine
    chains: tuple[NftChain, ...] = ()
    rules: tuple[NftRule, ...] = ()  # in chains of others
    programs: tuple[ForeignProgram, ...] = ()
    links: tuple[str, ...] = ()
    routing: tuple[RoutingRule, ...] = ()
    pins: tuple[Path, ...] = ()
    is_running: bool = False

    @property
    def is_empty(self) -> bool:
        """Return whether nothing is left."""
        return not any(
            (self.chains, self.rules, self.programs, self.links, self.routing, self.pins)
        )

    def lines(self) -> Iterator[str]:
        """Yield in words what there is, a line for each kind."""
        for family, table in sorted({(one.family, one.table) for one in self.chains}):
            names = [one.name for one in self.chains if (one.family, one.table) == (family, table)]
            yield f"{_count(names, 'chain')} of table {family} {table}: {_some(names)}"
        if self.rules:
            places = dict.fromkeys(f"{one.family} {one.table} {one.chain}" for one in self.rules)
            yield f"{_count(self.rules, 'rule')} in {_some(places)}"
        for one in self.programs:
            yield f"program {one.name} at {one.link}, {one.hook.name.lower()} {one.priority}"
        for text, found in (
            ("links", self.links),
            ("rules", [f"{one.priority} to table {one.table}" for one in self.routing]),
            ("pinned", [str(one) for one in self.pins]),
        ):
            if found:
                yield f"{text}: {_some(found)}"


def read_remains(engine: Engine, *, proc: Path = _PROC, bpffs: Path = _BPFFS) -> Remains:
    """Return what an engine left in the thread's network namespace. Some ms."""
    chains = tuple(one for one in list_chains() if one.name.startswith(engine.prefixes))
    own = {(one.family, one.table, one.name) for one in chains}
    rules = tuple(one for one in list_rules(engine.mark) if _leads_to(one, own))
    found = Remains(engine=engine, chains=chains, rules=rules, is_running=_is_running(engine, proc))
    return found if engine is Engine.FELIX else _with_cilium(found, bpffs)


def _leads_to(one: NftRule, own: set[tuple[str, str, str]]) -> bool:
    """Return whether a rule in another's chain is the engine's, or leads to a chain of its."""
    is_inside = (one.family, one.table, one.chain) in own
    return not is_inside and (one.is_marked or (one.family, one.table, one.target) in own)


def _with_cilium(found: Remains, bpffs: Path) -> Remains:
    with open_route_socket() as sock:
        links = list(sock.query(link.all_links()))
        rules = [
            one
            for one in sock.query(rule.all_rules(None))
            if (one.priority, one.table) in _CILIUM_RULES
        ]
        return Remains(
            engine=found.engine,
            chains=found.chains,
            rules=found.rules,
            is_running=found.is_running,
            programs=tuple(
                program for one in links for program in _programs(sock, one.name, one.ifindex)
            ),
            links=tuple(one.name for one in links if one.name in _CILIUM_LINKS),
            routing=tuple(rules),
            pins=tuple(_pins(bpffs)),
        )


def _programs(sock: RouteSocket, name: str, ifindex: int) -> Iterator[ForeignProgram]:
    for hook in Hook:
        for one in sock.query(traffic.attached_programs(ifindex, hook)):
            if one.name.startswith("cil_"):
                yield ForeignProgram(
                    link=name, ifindex=ifindex, hook=hook, name=one.name, priority=one.priority
                )


def _pins(bpffs: Path) -> Iterator[Path]:
    yield from sorted((bpffs / "tc" / "globals").glob("cilium_*"))
    if (bpffs / "cilium").is_dir():
        yield bpffs / "cilium"


def remove_remains(found: Remains) -> None:
    """Remove what was found. Idempotent; what is gone by itself meanwhile is success.

    Chains go first, all at once: programs that go later hand over to a stack that nobody judges
    but us.
    """
    if found.chains or found.rules:
        nftables.run("\n".join(_commands(found)))
    with open_route_socket() as sock:
        for request in _requests(sock, found):
            sock.request(request)
    for path in found.pins:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _commands(found: Remains) -> Iterator[str]:
    for one in found.rules:
        yield f"delete rule {one.family} {one.table} {one.chain} handle {one.handle}"
    for word in ("flush", "delete"):
        for chain in found.chains:
            yield f"{word} chain {chain.family} {chain.table} {chain.name}"


def _requests(sock: RouteSocket, found: Remains) -> Iterator[Request]:
    for one in found.programs:
        yield traffic.remove_filters_of(one.ifindex, one.hook, priority=one.priority)
    for routing in found.routing:
        yield rule.remove(routing)
    for name in found.links:
        if sock.index_of(name) is not None:  # the other end of a veth goes with the first
            yield link.delete(name)


def legacy_tables(proc: Path = _PROC) -> tuple[str, ...]:
    """Return the tables of iptables-legacy, whose chains cannot be seen from here."""
    names: dict[str, None] = {}
    for path in _LEGACY:
        if (proc / path).is_file():
            names.update(dict.fromkeys((proc / path).read_text().split()))
    return tuple(names)


def _is_running(engine: Engine, proc: Path) -> bool:
    for path in proc.glob("[0-9]*/comm"):
        try:
            if path.read_text(errors="replace").strip() in engine.value:
                return True
        except OSError:  # it has just ended
            continue
    return False


def _count(found: Sized, one: str) -> str:
    return f"{len(found)} {one}{'s' * (len(found) != 1)}"


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f", and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more
