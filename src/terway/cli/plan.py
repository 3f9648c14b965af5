"""terway-cli plan: can a cluster's network be as planned, which would do, and make it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from math import inf
from pathlib import Path

import click

from terway.capacity.network_plan import NetworkPlan, Objection
from terway.capacity.planning import Outlook, check_plan, outlooks, pods_per_node
from terway.capacity.proposal import propose
from terway.cli.account import open_account
from terway.cli.build import Existing, build
from terway.cli.catalogue import find_limits
from terway.cli.exits import FOUND, OK
from terway.cli.place import find_place
from terway.cli.plan_file import PlanFile, parse_plan, read_plan_file, to_yaml, with_ranges
from terway.cli.plan_trace import trace_report
from terway.cli.table import print_json, print_lines, table_lines, wrapped
from terway.model.errors import UsageError
from terway.model.ids import ZoneId

_PATH = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("plan")
@click.argument("file", required=False, type=_PATH)
@click.option("--propose", "wants_proposal", is_flag=True, help="Print a plan that would do.")
@click.option("--zone", "zones", multiple=True, help="A zone for --propose; may be repeated.")
@click.option("--nodes", default=0, help="Nodes, at most, in place of the file's.")
@click.option("--pods-per-node", default=0, help="In place of the file's.")
@click.option("--type", "instance_type", default="", help="Instance type of the nodes.")
@click.option("--offline", is_flag=True, help="Limits of types from the published table.")
@click.option("--trace", type=_PATH, help="Pods of the past: CSV node,start_s,end_s, or JSON.")
@click.option("--addresses", default=0, help="With --trace: addresses of the pods' vSwitches.")
@click.option("--apply", "is_applied", is_flag=True, help="Create what the plan lacks.")
@click.option("--region", default="", help="Region of --apply and of types.")
@click.option("--json", "as_json", is_flag=True)
def command(
    *,
    file: Path | None,
    wants_proposal: bool,
    zones: tuple[str, ...],
    nodes: int,
    pods_per_node: int,
    instance_type: str,
    offline: bool,
    trace: Path | None,
    addresses: int,
    is_applied: bool,
    region: str,
    as_json: bool,
) -> None:
    """Check a network plan, propose one, replay a workload, or create what is planned.

    FILE is YAML: name, region, vpc, vswitches, service_cidr, nodes, options, taken. Everything that
    stands against it is said with its reason. --propose prints such a file. --apply creates the
    VPC, vSwitches and security group that are not there; a second run has nothing to do.
    Exit code 1 when the plan cannot be.
    """
    if trace is not None:
        print_json_or_lines(trace_report(trace, addresses), as_json=as_json)
        return
    said = read_plan_file(file) if file else parse_plan({})
    said = _changed(said, zones=zones, nodes=nodes, pods=pods_per_node, type_=instance_type)
    said = replace(said, region=region or said.region)
    said = _with_limits(said, offline=offline)
    if wants_proposal:
        said = with_ranges(said, propose(said.plan, _zones_of(said)))
        if not is_applied:
            click.echo(to_yaml(said), nl=False)
            return
    if not said.has_ranges:
        raise UsageError("name a FILE with vswitches, or let me --propose", field="FILE")
    objections = check_plan(said.plan)
    if is_applied and not any(one.is_final for one in objections):
        there = asyncio.run(_apply(said))
        print_json_or_lines(there, _made_lines(there), as_json=as_json)
        return
    _show(said.plan, objections, as_json=as_json)
    raise SystemExit(FOUND if any(one.is_final for one in objections) else OK)


def _changed(
    said: PlanFile, *, zones: tuple[str, ...], nodes: int, pods: int, type_: str
) -> PlanFile:
    """Return `said` with what the command line says in place of the file."""
    demand = said.plan.demand
    if nodes:
        demand = replace(demand, nodes=nodes, most_nodes=nodes)
    if pods:
        demand = replace(demand, pods_per_node=pods)
    return replace(
        said,
        zones=tuple(map(ZoneId, zones)) or said.zones,
        instance_type=type_ or said.instance_type,
        plan=replace(said.plan, demand=demand),
    )


def _with_limits(said: PlanFile, *, offline: bool) -> PlanFile:
    name = said.instance_type
    if not name:
        return said
    found, source = asyncio.run(find_limits([name], region_id=said.region, offline=offline))
    if name not in found:
        raise UsageError(f"no limits of {name} from {source}", field="nodes.type")
    return replace(said, plan=replace(said.plan, limits=found[name]))


def _zones_of(said: PlanFile) -> tuple[ZoneId, ...]:
    zones = said.zones or said.plan.zones
    if not zones:
        raise UsageError("say in which zones the nodes are: --zone, or zones in the file")
    return zones


async def _apply(said: PlanFile) -> Existing:
    if not said.region:
        raise UsageError("say in which --region to create it", field="--region")
    async with open_account(find_place(node_name="-"), said.region) as account:
        return await build(
            said.plan, said.name, account.network, tell=lambda text: click.echo(text, err=True)
        )


def _made_lines(there: Existing) -> list[str]:
    assert there.vpc is not None  # build returns when all is there
    assert there.group is not None
    rows: list[tuple[str, ...]] = [("VPC", there.vpc.id, str(there.vpc.cidr), "")]
    rows += [("vSwitch", one.id, str(one.cidr), one.zone_id) for one in there.vswitches]
    rows.append(("group", there.group.id, there.group.name, ""))
    heads = ("WHAT", "ID", "RANGE", "ZONE")
    return [*table_lines(heads, rows), "", "all is there: nothing to do"]


def print_json_or_lines(value: object, lines: list[str] | None = None, *, as_json: bool) -> None:
    """Print a value as JSON, or as the lines that say it."""
    if as_json:
        print_json(value)
    else:
        print_lines(lines if lines is not None else str(value).splitlines())


def _show(plan: NetworkPlan, objections: tuple[Objection, ...], *, as_json: bool) -> None:
    found = outlooks(plan)
    if as_json:
        far = [{**_outlook_json(one)} for one in found]
        print_json({"objections": objections, "outlooks": far})
        return
    print_lines(_lines(plan, objections, found))


def _outlook_json(one: Outlook) -> dict[str, object]:
    months = None if one.months == inf else round(one.months, 1)
    return {
        "zone": one.zone_id,
        "for": one.role.value,
        "usable": one.usable,
        "needed": one.needed,
        "months": months,
    }


def _lines(
    plan: NetworkPlan, objections: tuple[Objection, ...], found: tuple[Outlook, ...]
) -> Iterator[str]:
    rows = [
        (one.zone_id, one.role.value, str(one.usable), str(one.needed), _months(one.months))
        for one in found
    ]
    yield from table_lines(("ZONE", "FOR", "ADDRESSES", "NEEDED", "MONTHS LEFT"), rows)
    yield f"{plan.demand.peak_nodes} nodes at most, {pods_per_node(plan)} pods on each"
    yield ""
    for one in objections:
        yield from wrapped(f"{'x' if one.is_final else '!'} {one}")
    final = sum(one.is_final for one in objections)
    rest = len(objections) - final
    yield f"{final} to mend, {rest} to know" if objections else "it can be"


def _months(months: float) -> str:
    return "-" if months == inf else f"{months:.1f}"
