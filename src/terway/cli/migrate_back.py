"""How does a node go back to upstream Terway? Its journal is written, and what is ours goes.

ours ─► ResRelation.db and pod.db, read back    the old ones beside them, with .before
     ─► terway.db beside it, with .given-back: a later take-over reads upstream's journal anew,
        and takes what the control plane then says, whichever rounds this one has answered
     ─► the kernel: what upstream has not; running pods keep links, addresses, routes and rules
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from terway.cli.table import counted, wrapped
from terway.datapath.giveback import Returned, give_back, is_tagged_member
from terway.datapath.plan import is_pod_rule
from terway.datapath.reach import is_host_stack_rule, is_metadata_rule
from terway.datapath.trunk import members_of
from terway.linux.ebpf.pins import Pins
from terway.linux.handback import hand_back
from terway.linux.kernel import open_kernel
from terway.linux.netlink.link import all_links
from terway.linux.netlink.socket import RouteSocket, open_route_socket
from terway.linux.upstream_filters import read_lack
from terway.model.errors import BugError, TransientError, UsageError
from terway.model.network import NODE, Remove, RoutingRule
from terway.model.traffic import TrunkMember
from terway.store.readonly import read_journal
from terway.store.records import Journal
from terway.store.upstream import (
    PODS,
    RELATIONS,
    parse_record,
    read_pods,
    read_relations,
    record_of,
    write_pods,
    write_relations,
)

BEFORE, GIVEN_BACK = ".before", ".given-back"
_ROUNDS = "supply.json"  # upstream counts no rounds, and its control plane drops ours


class Folders(Protocol):
    """Where a terwayd keeps its files."""

    @property
    def run_dir(self) -> Path:
        """Return the folder of sockets and of the lock."""
        ...

    @property
    def state_dir(self) -> Path:
        """Return the folder of journals."""
        ...

    @property
    def journal(self) -> Path:
        """Return our journal."""
        ...

    @property
    def pins(self) -> Path:
        """Return the folder of what is pinned."""
        ...


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of every terwayd, upstream's too; TransientError while one runs."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            text = f"{path}: a terwayd runs: remove the node's label, and wait until it has left"
            raise TransientError(text) from error
        yield


async def go_back(paths: Folders) -> tuple[str, ...]:
    """Give the node back; return in words what was done.

    Raises TransientError while a terwayd runs, upstream's or ours; StoreError without a journal;
    UsageError, before anything is changed, with each pod that upstream cannot have.
    """
    with _alone(paths.run_dir / "terwayd.lock"):
        journal = read_journal(paths.journal)
        returned = returned_of(journal)
        refuse_kept(returned)
        done = [*_write(paths, returned)]
        with open_route_socket() as sock:
            done += hand_back(sock, Pins(paths.pins), members_of_journal(sock, journal))
        done += await _remove_rules()
        done += set_aside(paths)
    return tuple(done)


def is_given_back(paths: Folders) -> bool:
    """Return whether the node was given back, and nobody has taken it over since."""
    is_aside = Path(f"{paths.journal}{GIVEN_BACK}").exists() and not paths.journal.exists()
    return is_aside and (paths.state_dir / RELATIONS).is_file()


def returned_of(journal: Journal) -> Returned:
    """Return the pods of our journal as upstream's; members of a trunk where the kernel can."""
    vswitch_of = {one.id: one.vswitch_id for one in journal.enis}
    lack = read_lack() if any(map(is_tagged_member, journal.attachments)) else ""
    return give_back(journal.attachments, vswitch_of, journal.vswitches, tagging_lacks=lack)


def members_of_journal(sock: RouteSocket, journal: Journal) -> tuple[TrunkMember, ...]:
    """Return the members of trunks that are here; one that is left alone is upstream's as it is."""
    names = {str(one.mac): one.name for one in sock.query(all_links())}
    return tuple(
        member
        for one in journal.attachments
        if one.spec.own_eni is not None and not one.spec.is_left_alone
        for member in members_of(one, names.get(str(one.spec.own_eni.trunk_mac), ""))
    )


def returned_lines(returned: Returned) -> Iterator[str]:
    """Yield in lines of a terminal what upstream would know, and what would go."""
    yield f"ResRelation.db and pod.db would have {counted(len(returned.pods), 'pod')}"
    for one in returned.pods:
        addresses = ", ".join(str(ip) for part in one.interfaces for ip in part.addresses)
        yield from wrapped(f"{one.pod}  {addresses}", indent=2)
    yield from wrapped(
        "guards, tables of nftables and programs of eBPF would go; policies are in force again "
        "when upstream's policy container runs"
    )


def refuse_kept(returned: Returned) -> None:
    """Raise UsageError with every pod that upstream cannot have, and why."""
    if returned.kept:
        lines = "; ".join(f"{pod}: {why}" for pod, why in returned.kept)
        raise UsageError(f"nothing was changed, for upstream cannot have {lines}", field="--back")


def _write(paths: Folders, returned: Returned) -> Iterator[str]:
    """Write upstream's journal and what it remembers of pods, and prove both by reading them."""
    path, pods = paths.state_dir / RELATIONS, paths.state_dir / PODS
    for old in (path, pods):
        if old.is_file():
            old.replace(old.with_name(old.name + BEFORE))
    wanted = {str(one.pod): one for one in returned.pods}
    write_relations(path, {key: record_of(one) for key, one in wanted.items()})
    write_pods(pods, wanted.values())
    found = {key: parse_record(key, value) for key, value in read_relations(path).items()}
    if found != wanted:
        raise BugError(f"{path}: what was written is not what is read")
    if read_pods(pods) != {key: one.pod.uid for key, one in wanted.items()}:
        raise BugError(f"{pods}: what was written is not what is read")
    yield f"{path}, {pods.name}: {len(wanted)} pods"


async def _remove_rules() -> tuple[str, ...]:
    async with open_kernel() as kernel:
        rules = [one for one in (await kernel.read_node()).objects if isinstance(one, RoutingRule)]
        ours = [one for one in rules if is_metadata_rule(one) or is_host_stack_rule(one)]
        await kernel.apply([Remove(netns=NODE, object=one) for one in ours])
    kept = sum(is_pod_rule(one) for one in rules) - sum(is_metadata_rule(one) for one in ours)
    return (f"{len(ours)} rules removed, {kept} of pods kept",)


def set_aside(paths: Folders) -> Iterator[str]:
    """Set our files aside, the journal after the rounds: without it the node is given back."""
    journal = paths.journal.name
    for name in (_ROUNDS, journal, f"{journal}-wal", f"{journal}-shm"):
        path = paths.state_dir / name
        if path.exists():
            path.replace(Path(f"{path}{GIVEN_BACK}"))
    yield f"{paths.journal}: set aside as {paths.journal.name}{GIVEN_BACK}"
