"""terway-cli capacity: how many pods does an instance type hold, and why?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

import click

from terway.capacity.modes import Capacity, Wish, capacities
from terway.capacity.pods import Tuning
from terway.cli.catalogue import OF_THE_TABLE, find_limits, read_table
from terway.cli.exits import FOUND, OK
from terway.cli.table import print_json, print_lines, table_lines, wrapped
from terway.model.address import IPStack
from terway.model.eni import InstanceLimits
from terway.model.errors import UsageError

_HEADS = ("TYPE", "MODE", "PODS", "MORE THAN", "HOW")


@click.command("capacity")
@click.argument("types", nargs=-1)
@click.option("--family", default="", help="All types of a family, as ecs.g7.")
@click.option(
    "--need",
    type=click.IntRange(0),
    default=0,
    help="Only types that hold so many pods, in shared mode.",
)
@click.option(
    "--ip-stack",
    type=click.Choice([one.value for one in IPStack]),
    default="ipv4",
    help="As in eni_conf.",
)
@click.option(
    "--ratio", type=click.FloatRange(0, min_open=True), default=1.0, help="eni_cap_ratio."
)
@click.option("--shift", default=0, help="eni_cap_shift; may be negative.")
@click.option("--max-eni", type=click.IntRange(0), default=0, help="max_eni.")
@click.option("--erdma", is_flag=True, help="enable_erdma: RDMA ENIs take the place of others.")
@click.option("--prefix", is_flag=True, help="enable_ip_prefix.")
@click.option("--region", default="", help="Region to ask; this instance's own by default.")
@click.option("--offline", is_flag=True, help="Do not ask the cloud: use the published table.")
@click.option("--json", "as_json", is_flag=True)
def command(
    *,
    types: tuple[str, ...],
    family: str,
    need: int,
    ip_stack: str,
    ratio: float,
    shift: int,
    max_eni: int,
    erdma: bool,
    prefix: bool,
    region: str,
    offline: bool,
    as_json: bool,
) -> None:
    """Say how many pods instance types hold in each mode, with the arithmetic.

    The limits are those of DescribeInstanceTypes; without the cloud, those of a published table,
    and the output says so. Exit code 1 when a type cannot be a node in shared mode.
    """
    wish = Wish(
        stack=IPStack(ip_stack),
        tuning=Tuning(ratio=ratio, shift=shift, max_enis=max_eni),
        uses_erdma=erdma,
        uses_prefixes=prefix,
    )
    names = _names(types, family, need, wish)
    limits, source = asyncio.run(find_limits(names, region_id=region, offline=offline))
    _require_known(names, limits, source)
    found = {name: capacities(limits[name], wish) for name in names}
    if as_json:
        print_json({"source": source, "limits": limits, "capacities": found})
    else:
        print_lines(_lines(found, source))
    is_small = any(not modes[0].is_enough for modes in found.values())
    raise SystemExit(FOUND if is_small else OK)


def _names(types: Sequence[str], family: str, need: int, wish: Wish) -> list[str]:
    """Return the types that are asked for; a search goes through the table."""
    if not types and not family and not need:
        raise UsageError("name instance types, or a --family, or how many pods you --need")
    if types:
        return list(types)
    found = [
        name
        for name, limits in read_table().items()
        if (not family or name.startswith(f"{family}."))
        and capacities(limits, wish)[0].pods >= max(need, 1)
    ]
    if not found:
        wanted = f"of the family {family}" if family else "that large"
        raise UsageError(f"no type {wanted} is in {OF_THE_TABLE}", field="--family")
    return found


def _require_known(names: Sequence[str], limits: Mapping[str, InstanceLimits], source: str) -> None:
    unknown = [name for name in names if name not in limits]
    if not unknown:
        return
    near = get_close_matches(unknown[0], read_table(), n=3)
    hint = f": did you mean {', '.join(near)}?" if near else ""
    raise UsageError(f"no limits of {', '.join(unknown)} from {source}{hint}", field="TYPES")


def _lines(found: Mapping[str, Sequence[Capacity]], source: str) -> Iterator[str]:
    rows = [_row(name, one) for name, modes in found.items() for one in modes]
    yield from table_lines(_HEADS, rows)
    yield ""
    yield from wrapped(f"limits from {source}")
    if any(not one.is_enough for modes in found.values() for one in modes):
        yield "x: fewer pods than a node must have, or what the mode lacks"


def _row(name: str, one: Capacity) -> tuple[str, ...]:
    how = one.why_not or one.formula
    mark = "" if one.is_enough else "x "
    return (name, one.mode, f"{mark}{one.pods}", str(one.least) if one.least else "-", how)
