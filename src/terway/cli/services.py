"""terway-cli services: which services does this node lead, where to, and why not elsewhere?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any

import click

from terway.cli.exits import FOUND, OK
from terway.cli.place import find_place, place_options
from terway.cli.read_node import get_page
from terway.cli.table import counted, print_json, print_lines, wrapped
from terway.model.errors import TransientError, UsageError

PAGE = "/debug/services"


@click.command("services")
@click.argument("text", default="")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@place_options
def command(text: str, as_json: bool, **where: str) -> None:
    """Show the services that this node leads to endpoints, those with TEXT in their names.

    Exit code 1 when some have no room, no endpoint, or are not in the maps; 2 when this node leads
    none; 3 when terwayd does not answer.
    """
    page = _read_page(where)
    chosen = [one for one in page["services"] if text in one["service"]]
    if as_json:
        print_json({**page, "services": chosen})
    else:
        print_lines(service_lines(page, chosen))
    raise SystemExit(FOUND if _has_findings(page, chosen) else OK)


def _read_page(where: dict[str, str]) -> dict[str, Any]:
    status, body = get_page(find_place(**where), PAGE)
    if status == HTTPStatus.NOT_FOUND:
        text = "terwayd of this node leads no services: it has no data path in eBPF, or eni-config"
        raise UsageError(f"{text} says kube_proxy_replacement: off", field="kube_proxy_replacement")
    if status != HTTPStatus.OK:
        raise TransientError(f"terwayd answers {status} for {PAGE}")
    found: dict[str, Any] = json.loads(body)
    return found


def _has_findings(page: dict[str, Any], chosen: Sequence[dict[str, Any]]) -> bool:
    is_behind = bool(page["trouble"] or page["left_out"] or not page["filled"])
    return is_behind or any(one["taken"] or not _used(one) for one in chosen)


def _used(service: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in service["endpoints"] if one["use"].startswith("used")]


def service_lines(page: dict[str, Any], chosen: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield what a person reads: first what is wrong with all, then each service."""
    yield from _trouble_lines(page)
    for service in chosen:
        yield service["service"]
        yield from _frontend_lines(service)
        yield from _endpoint_lines(service)
    yield counted(len(chosen), "service")


def _trouble_lines(page: dict[str, Any]) -> Iterator[str]:
    if not page["filled"]:
        yield "services have not been heard of yet"
    if page["trouble"]:
        yield from wrapped(f"not in the maps: {page['trouble']}")
    for key, table in page["left_out"].items():
        yield from wrapped(f"left out: {key}: map {table} is full; raise ebpf_service_entries")


def _frontend_lines(service: dict[str, Any]) -> Iterator[str]:
    for one in service["frontends"]:
        affinity = f", affinity {one['affinity_s']} s" if one["affinity_s"] else ""
        local = ", endpoints of this node only" if one["inside"] == "local" else ""
        yield from wrapped(f"{one['address']}  {one['kind']}{local}{affinity}", indent=2)
    for address in service["taken"]:
        yield from wrapped(f"{address}  another service has it", indent=2)


def _endpoint_lines(service: dict[str, Any]) -> Iterator[str]:
    if not service["endpoints"]:
        yield "    no endpoints"
    for one in service["endpoints"]:
        place = f" on {one['node']}" if one["node"] else ""
        yield from wrapped(f"► {one['address']}{place}: {one['use']}", indent=4)
