"""terway-cli policy verify: does this node's kernel enforce what the policies say?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from terway.cli.exits import FOUND, OK
from terway.cli.place import Place, find_place, place_options
from terway.cli.policy_objects import manifests_of
from terway.cli.policy_places import Spot, differences, spots_of, wish_of
from terway.cli.policy_read import LIVE, read_objects
from terway.cli.policy_source import json_option
from terway.cli.read_node import get_page, read_agent_config, read_journal_view
from terway.cli.table import print_json, print_lines, wrapped
from terway.linux.netns import open_netns
from terway.linux.nfnetlink.tables import open_nft_socket
from terway.model.errors import ConflictError, TransientError, VpcError
from terway.model.nft import Table
from terway.policy.nft.names import TABLE

_PAGE = "/debug/policy"
_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One table, and where it is not as it should be. `pods` of it are restricted."""

    where: str
    pods: int
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """All tables of a node. `agent` is terwayd's own last word; empty if it does not answer."""

    checked: tuple[Checked, ...]
    policies: int
    agent: str = ""

    @property
    def is_same(self) -> bool:
        """Return whether all is as it should be."""
        return not any(one.differences for one in self.checked)


@click.command("verify")
@place_options
@json_option
def command(*, as_json: bool, **where: str) -> None:
    """Compare what this node's kernel enforces with what the policies of the cluster say.

    Pods, policies and attachments are read anew and compiled; the tables of the node, and of the
    pods that have an ENI themselves, are read back and compared, for every class of addresses,
    every port and protocol. terwayd's own last comparison is shown beside it. Needs root.

    Exit code 0: the same; 1: a difference; 3: API, journal or kernel cannot be read.
    """
    place = find_place(**where)
    if not read_agent_config(place).wants_policy:
        found = Verified(checked=tuple(_leftovers()), policies=0, agent="NetworkPolicy is off here")
    else:
        found = _verify(place, **where)
        if not found.is_same:  # a pod or policy may just have changed: only what stays is told
            found = _both(found, _verify(place, **where))
    if as_json:
        print_json(found)
    else:
        print_lines(verify_lines(found))
    raise SystemExit(OK if found.is_same else FOUND)


def _verify(place: Place, **where: str) -> Verified:
    """Read everything and compare it. Raises TransientError, or UsageError without root."""
    attachments = read_journal_view(place).attachments
    spots = spots_of(attachments)
    tables = [(spot, _read_table(spot)) for spot in spots]
    manifests = manifests_of(read_objects([LIVE], **where))
    wish = wish_of(manifests.cluster, manifests.policies, attachments, place.node_name)
    return Verified(
        checked=tuple(
            Checked(
                where=spot.where,
                pods=sum(key in wish.sides for key in spot.links),
                differences=tuple(str(one) for one in differences(wish, spot, table)),
            )
            for spot, table in tables
        ),
        policies=len(manifests.policies),
        agent=_agents_word(place),
    )


def _both(first: Verified, second: Verified) -> Verified:
    """Return the second, with the differences that were there the first time, too."""
    known = {(one.where, text) for one in first.checked for text in one.differences}
    return Verified(
        checked=tuple(
            Checked(
                where=one.where,
                pods=one.pods,
                differences=tuple(text for text in one.differences if (one.where, text) in known),
            )
            for one in second.checked
        ),
        policies=second.policies,
        agent=second.agent,
    )


def _read_table(spot: Spot) -> Table | None:
    if not spot.netns:
        with open_nft_socket() as sock:
            return sock.read(TABLE)
    try:
        with open_netns(spot.netns) as opened, open_nft_socket(opened.fd) as sock:
            return sock.read(TABLE)
    except ConflictError:
        return None  # the pod has ended: nothing passes there any more


def _leftovers() -> Iterator[Checked]:
    with open_nft_socket() as sock:
        is_there = sock.read(TABLE) is not None
    text = f"table {TABLE} is there, though NetworkPolicy is off: restart terwayd"
    yield Checked(where="the node", pods=0, differences=(text,) if is_there else ())


def _agents_word(place: Place) -> str:
    try:
        status, body = get_page(place, _PAGE)
        page: dict[str, Any] = json.loads(body) if status == 200 else {}
    except (VpcError, ValueError) as error:
        return str(error) if isinstance(error, TransientError) else ""
    last = page.get("verify") or {}
    if last.get("error"):
        return f"terwayd could not compare: {last['error']}"
    if last.get("age_s") is None:
        return "terwayd has not compared yet"
    count = len(last.get("differences") or ())
    found = f"{count} differences" if count else "no difference"
    return f"terwayd compared {last['age_s']:.0f} s ago, in {last['took_s']:.2f} s: {found}"


def verify_lines(found: Verified) -> Iterator[str]:
    """Yield each table and its differences, then terwayd's own word."""
    for one in found.checked:
        word = "ok  " if not one.differences else "FAIL"
        yield f"{word} {one.where}: {one.pods} pods restricted"
        for text in one.differences[:_SHOWN]:
            yield from wrapped(text, indent=5)
        if len(one.differences) > _SHOWN:
            yield f"     and {len(one.differences) - _SHOWN} more; --json has all"
    if found.agent:
        yield from wrapped(found.agent)
    same = "the kernel enforces what they say" if found.is_same else "the kernel differs"
    yield f"{found.policies} policies: {same}"
    if not found.is_same:
        yield "mend it: terwayd makes it anew when it sees it; or restart terwayd"
