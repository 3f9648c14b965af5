"""terway-cli events: what has terwayd told of this node and its pods, the newest first?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import click

from terway.cli.exits import FOUND, OK
from terway.cli.place import Place, find_place, place_options
from terway.cli.read_kube import open_client
from terway.cli.table import print_json, print_lines, wrapped
from terway.kube.events import WARNING
from terway.kube.resource import EVENTS
from terway.kube.types import Event
from terway.model.ids import NodeName

_PROGRAM = "terwayd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One event. `last` is when it was told the last time, `count` how often; times are UTC."""

    last: str
    is_warning: bool
    reason: str
    about: str
    message: str
    count: int


@click.command("events")
@click.option("--warnings", "only_warnings", is_flag=True, help="Leave out what is normal.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@place_options
def command(*, only_warnings: bool, limit: int, as_json: bool, **where: str) -> None:
    """Show what terwayd has told of this node and its pods, the newest first.

    Kubernetes keeps events for an hour. Exit code 1 when a warning is among those shown, 3 when
    the API server does not answer.
    """
    place = find_place(**where)
    found = told_by(asyncio.run(_read(place)), place.node_name)
    shown = [one for one in found if one.is_warning or not only_warnings][:limit]
    if as_json:
        print_json(shown)
    else:
        print_lines(event_lines(shown))
    raise SystemExit(FOUND if any(one.is_warning for one in shown) else OK)


async def _read(place: Place) -> Iterable[Event]:
    async with open_client(place) as client:
        return (await client.list(EVENTS)).items


def told_by(events: Iterable[Event], node: NodeName) -> list[Told]:
    """Return the events of the terwayd of a node, the newest first."""
    own = (one for one in events if (one.source.component, one.source.host) == (_PROGRAM, node))
    found = [
        Told(
            last=one.last_timestamp or one.first_timestamp or "",
            is_warning=one.type == WARNING,
            reason=one.reason,
            about=_about(one),
            message=one.message,
            count=max(one.count, 1),
        )
        for one in own
    ]
    return sorted(found, key=lambda one: (one.last, one.about), reverse=True)


def _about(event: Event) -> str:
    target = event.involved_object
    name = f"{target.namespace}/{target.name}" if target.namespace else target.name
    return f"{target.kind.lower()} {name}"


def event_lines(found: Iterable[Told]) -> Iterator[str]:
    """Yield a head line for each event, and its message below."""
    listed = list(found)
    for one in listed:
        mark = "!" if one.is_warning else " "
        often = f"  {one.count} times" if one.count > 1 else ""
        yield from wrapped(f"{mark} {one.last}  {one.reason}  {one.about}{often}")
        yield from wrapped(one.message, indent=4)
    if not listed:
        yield "terwayd has told nothing of this node in the last hour"
