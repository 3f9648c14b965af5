"""terway-cli policy verify: does this node's kernel enforce what the policies say?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click

from terway.cli.exits import FOUND, OK
from terway.cli.place import find_place
from terway.cli.policy_bundle import bundle_maps, bundle_tables
from terway.cli.policy_progress import telling
from terway.cli.policy_read import read_bundled
from terway.cli.policy_verified import (
    Verified,
    agents_word,
    compare,
    compare_maps,
    leftovers,
    verify_node,
)
from terway.cli.read_node import read_agent_config
from terway.cli.snapshot import require
from terway.cli.source import read_bundle, source_options
from terway.cli.table import counted, print_json, print_lines, wrapped
from terway.linux.ebpf.policy_maps import content_of
from terway.model.ids import NodeName

_SHOWN = 20


@click.command("verify")
@source_options
def command(*, bundle: str, as_json: bool, **where: str) -> None:
    """Compare what this node's kernel enforces with what the policies of the cluster say.

    Pods, policies and attachments are read anew and compiled; the tables of the node, and of the
    pods that have an ENI themselves, are read back and compared, for every class of addresses,
    every port and protocol. terwayd's own last comparison is shown beside it. Needs root, or a
    support bundle.

    Exit code 0: the same; 1: a difference; 3: API, journal or kernel cannot be read.
    """
    with telling("comparing the kernel with the policies"):
        found = _of_bundle(Path(bundle)) if bundle else _of_node(**where)
    if as_json:
        print_json(found)
    else:
        print_lines(verify_lines(found))
    raise SystemExit(OK if found.is_same else FOUND)


def _of_node(**where: str) -> Verified:
    place = find_place(**where)
    if read_agent_config(place).wants_policy:
        return replace(verify_node(place), agent=agents_word(place))
    return Verified(checked=tuple(leftovers()), policies=0, agent="NetworkPolicy is off here")


def _of_bundle(path: Path) -> Verified:
    """Compare what was read for a bundle: once, so a change at that very moment is told, too."""
    snapshot = read_bundle(path)
    journal = require(snapshot.journal, snapshot, "journal")
    word = f"by a bundle of {snapshot.taken_at}, of what was read one after the other"
    node = NodeName(snapshot.node_name)
    dump, objects = bundle_maps(path), read_bundled(path)
    if dump is not None:
        found = compare_maps(objects, journal.attachments, content_of(dump), node=node)
    else:
        found = compare(objects, journal.attachments, bundle_tables(path), node=node)
    return replace(found, agent=word)


def verify_lines(found: Verified) -> Iterator[str]:
    """Yield each table and its differences, then terwayd's own word."""
    for one in found.checked:
        word = "ok  " if not one.differences else "FAIL"
        yield f"{word} {one.where}: {counted(one.pods, 'pod')} restricted"
        for text in one.differences[:_SHOWN]:
            yield from wrapped(text, indent=5)
        if len(one.differences) > _SHOWN:
            yield f"     and {len(one.differences) - _SHOWN} more; --json has all"
    if found.agent:
        yield from wrapped(found.agent)
    same = "the kernel enforces what they say" if found.is_same else "the kernel differs"
    yield f"{counted(found.policies, 'policy', 'policies')}: {same}"
    if not found.is_same:
        yield "mend it: terwayd makes it anew when it sees it; or restart terwayd"
