"""Does the kernel of a node enforce what policies say? Compared anew, beside terwayd's own word.

A pod or policy may just have changed while it was read: only what is found twice is told.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from terway.cli.place import Place
from terway.cli.policy_maps import WHERE, endpoints_of, map_differences, read_policy_maps
from terway.cli.policy_objects import manifests_of
from terway.cli.policy_places import Spot, differences, missing_links, spots_of, wish_of
from terway.cli.policy_read import Found, read_cluster
from terway.cli.read_node import get_page, read_journal_view
from terway.cli.table import counted
from terway.linux.netns import entered, open_netns
from terway.linux.nfnetlink.tables import open_nft_socket
from terway.model.attachment import Attachment
from terway.model.errors import ConflictError, TransientError, VpcError
from terway.model.ids import NodeName
from terway.model.nft import Table
from terway.model.policy_maps import Content
from terway.policy.compiled import Compiled
from terway.policy.nft.names import TABLE

PAGE = "/debug/policy"
# By network namespace, the node's own is ""; None where there is no table.
Tables = dict[str, Table | None]
Links = Mapping[str, frozenset[str]]  # names of interfaces, by network namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One table, and where it is not as it should be. `pods` of it are restricted."""

    where: str
    pods: int
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """All tables of a node. `agent` is terwayd's own last word, where somebody asked for it."""

    checked: tuple[Checked, ...]
    policies: int
    agent: str = ""

    @property
    def is_same(self) -> bool:
        """Return whether all is as it should be."""
        return not any(one.differences for one in self.checked)


def verify_node(place: Place) -> Verified:
    """Read everything and compare it, twice if it differs. Blocking.

    Raises TransientError, or UsageError without root.
    """
    found = _verify_once(place)
    return found if found.is_same else _both(found, _verify_once(place))


def _verify_once(place: Place) -> Verified:
    attachments = read_journal_view(place).attachments
    content = read_policy_maps()
    if content is not None:
        objects = asyncio.run(read_cluster(place))
        return compare_maps(objects, attachments, content, node=place.node_name)
    tables, links = read_tables(attachments), read_links(attachments)
    objects = asyncio.run(read_cluster(place))
    return compare(objects, attachments, tables, node=place.node_name, links=links)


def compare(
    objects: Iterable[Found],
    attachments: Iterable[Attachment],
    tables: Tables,
    *,
    node: NodeName,
    links: Links | None = None,
) -> Verified:
    """Return where tables are not as the objects want them for the attachments of a node. Pure.

    With `links`, also which interfaces are not there that tables judge.
    """
    attachments = tuple(attachments)
    manifests = manifests_of(objects)
    wish = wish_of(manifests.cluster, manifests.policies, attachments, node)
    return Verified(
        checked=tuple(
            Checked(
                where=spot.where,
                pods=sum(key in wish.sides for key in spot.links),
                differences=(
                    *map(str, differences(wish, spot, tables[spot.netns])),
                    *_missing_links(wish, spot, links),
                ),
            )
            for spot in spots_of(attachments)
            if spot.netns in tables
        ),
        policies=len(manifests.policies),
    )


def compare_maps(
    objects: Iterable[Found],
    attachments: Iterable[Attachment],
    content: Content,
    *,
    node: NodeName,
) -> Verified:
    """Return where maps of the data path are not as the objects want them. Pure."""
    attachments = tuple(attachments)
    manifests = manifests_of(objects)
    wish = wish_of(manifests.cluster, manifests.policies, attachments, node)
    checked = Checked(
        where=WHERE,
        pods=sum(pod in wish.sides for pod in endpoints_of(attachments)),
        differences=tuple(map_differences(wish, attachments, content)),
    )
    return Verified(checked=(checked,), policies=len(manifests.policies))


def _missing_links(wish: Compiled, spot: Spot, links: Links | None) -> Iterator[str]:
    if links is not None and spot.netns in links:
        yield from missing_links(wish, spot, links[spot.netns])


def _both(first: Verified, second: Verified) -> Verified:
    """Return the second, with the differences that were there the first time, too."""
    known = {(one.where, text) for one in first.checked for text in one.differences}
    return replace(
        second,
        checked=tuple(
            replace(
                one,
                differences=tuple(text for text in one.differences if (one.where, text) in known),
            )
            for one in second.checked
        ),
    )


def read_tables(attachments: Iterable[Attachment]) -> Tables:
    """Return the tables of the node, and of its pods that have an ENI themselves. Blocking."""
    return {spot.netns: _read_table(spot) for spot in spots_of(attachments)}


def _read_table(spot: Spot) -> Table | None:
    if not spot.netns:
        with open_nft_socket() as sock:
            return sock.read(TABLE)
    try:
        with open_netns(spot.netns) as opened, open_nft_socket(opened.fd) as sock:
            return sock.read(TABLE)
    except ConflictError:
        return None  # the pod has ended: nothing passes there any more


def read_links(attachments: Iterable[Attachment]) -> Links:
    """Return the interfaces of the node, and of its pods that have an ENI themselves. Blocking."""
    found: dict[str, frozenset[str]] = {}
    for spot in spots_of(attachments):
        with suppress(ConflictError):  # the pod has ended
            found[spot.netns] = _link_names(spot.netns)
    return found


def _link_names(netns: str) -> frozenset[str]:
    if not netns:
        return frozenset(name for _, name in socket.if_nameindex())
    with open_netns(netns) as opened, entered(opened.fd):
        return frozenset(name for _, name in socket.if_nameindex())


def leftovers() -> Iterator[Checked]:
    """Yield the node's table, which should not be there where NetworkPolicy is off. Blocking."""
    with open_nft_socket() as sock:
        is_there = sock.read(TABLE) is not None
    text = f"table {TABLE} is there, though NetworkPolicy is off: restart terwayd"
    yield Checked(where="the node", pods=0, differences=(text,) if is_there else ())


def agents_word(place: Place) -> str:
    """Return terwayd's own last comparison in words; empty where it has no such page."""
    try:
        status, body = get_page(place, PAGE)
        page: dict[str, Any] = json.loads(body) if status == 200 else {}
    except (VpcError, ValueError) as error:
        return str(error) if isinstance(error, TransientError) else ""
    last = page.get("verify") or {}
    if last.get("error"):
        return f"terwayd could not compare: {last['error']}"
    if last.get("age_s") is None:
        return "terwayd has not compared yet"
    count = len(last.get("differences") or ())
    found = counted(count, "difference") if count else "no difference"
    return f"terwayd compared {last['age_s']:.0f} s ago, in {last['took_s']:.2f} s: {found}"
