"""What becomes of upstream's custom resources, object by object where it is worth a word? Pure.

    PodENI             believed: ENI, address, MAC, phase, and how long an address is kept
    PodNetworking      stays; one that we cannot read, or find less in, is told by name
    NetworkInterface   believed
    Node               status believed; spec.eni, pool, flavor, datapath are written by our agents
    NodeRuntime        written anew by each agent, from its journal

A field that our definition of a kind has not goes when an object is written next: it is told by
name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from terway.cli.table import counted
from terway.config.findings import ConfigError
from terway.config.pod_networking import parse_pod_networking

Object = Mapping[str, Any]

_SHOWN = 5  # objects of a kind, by name
_REST = ("Bind", "Unbind")  # phases in which nothing is under way


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What becomes of the objects of a kind. `lost` are fields, with how many objects have them."""

    kind: str
    count: int
    said: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """Yield what a person should know of them."""
        yield from self.said[:_SHOWN]
        if len(self.said) > _SHOWN:
            yield f"and {counted(len(self.said) - _SHOWN, f'more {self.kind}')}"
        yield from (f"not carried over: {self.kind} {one}" for one in self.lost)


def carry(kind: str, objects: Iterable[Object], schema: Object | None) -> Carried:
    """Return what becomes of `objects`. `schema` is what their next definition knows.

    None: the definition stays as it is.
    """
    held = tuple(objects)
    unknown: Counter[str] = Counter()
    for one in held if schema is not None else ():
        unknown.update(set(_unknown(one, schema or {})))
    lost = (f"{path}, of {counted(count, 'object')}" for path, count in sorted(unknown.items()))
    say = _SAYINGS.get(kind)
    return Carried(
        kind=kind,
        count=len(held),
        said=tuple(say(held)) if say is not None else (),
        lost=tuple(lost),
    )


def _unknown(one: Object, schema: Object) -> Iterator[str]:
    for part in ("spec", "status"):
        known = (schema.get("properties") or {}).get(part)
        if known is not None:
            yield from _unknown_in(one.get(part), known, part)


def _unknown_in(value: object, schema: Object, path: str) -> Iterator[str]:
    """Yield the paths in `value` that a server drops: as its pruning does (KEP 2332)."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    if isinstance(value, Mapping):
        named, others = schema.get("properties") or {}, schema.get("additionalProperties")
        for name, held in value.items():
            if name in named:
                yield from _unknown_in(held, named[name], f"{path}.{name}")
            elif isinstance(others, Mapping):
                yield from _unknown_in(held, others, f"{path}.*")
            elif not others:
                yield f"{path}.{name}"
    elif isinstance(value, list):
        for held in value:
            yield from _unknown_in(held, schema.get("items") or {}, f"{path}[]")


def _of_pod_enis(objects: Iterable[Object]) -> Iterator[str]:
    for one in objects:
        yield from _of_pod_eni(one)


def _of_pod_eni(one: Object) -> Iterator[str]:
    meta, phase = one["metadata"], (one.get("status") or {}).get("phase", "")
    name = f"PodENI {meta.get('namespace', '')}/{meta['name']}"
    for each in (one.get("spec") or {}).get("allocations") or ():
        kept = each.get("allocationType") or {}
        if kept.get("type") == "Fixed":
            addresses = " ".join(filter(None, (each.get("ipv4"), each.get("ipv6"))))
            eni = each.get("eni") or {}
            until = kept.get("releaseAfter") or kept.get("releaseStrategy") or "for ever"
            yield f"{name} keeps {addresses}, {eni.get('id')}, {eni.get('mac')}: {until}"
    if phase not in _REST:
        yield f"{name} is {phase or 'new'}: our control plane goes on with it"


def _of_networkings(objects: Iterable[Object]) -> Iterator[str]:
    for one in objects:
        yield from _of_networking(one)


def _of_networking(one: Object) -> Iterator[str]:
    name = one["metadata"]["name"]
    try:
        parse_pod_networking(name, one.get("spec") or {}, one.get("status") or {})
    except ConfigError as error:
        yield f"PodNetworking {name}: no pod would have it until it is mended: {error}"
        return
    status = one.get("status") or {}
    if status.get("status") != "Ready":
        said = status.get("message") or "nobody has looked yet"
        yield f"PodNetworking {name} is not Ready, for upstream neither: {said}"


def _of_nodes(objects: Iterable[Object]) -> Iterator[str]:
    """Yield in one line what all pools have; a Node without ENIs has no pool by upstream."""
    shown = [(one.get("status") or {}).get("networkInterfaces") or {} for one in objects]
    enis = [eni for one in shown for eni in one.values()]
    held = [each for eni in enis for each in (eni.get("ipv4") or {}).values()]
    if enis:
        used = sum(bool(each.get("podID")) for each in held)
        nodes = counted(sum(bool(one) for one in shown), "Node")
        what = f"{counted(len(enis), 'ENI')}, {counted(len(held), 'address', 'addresses')}"
        yield f"pools are believed as they are: {nodes} with {what}, {used:,} of them pods'"


_SAYINGS: Mapping[str, Callable[[Iterable[Object]], Iterator[str]]] = {
    "PodENI": _of_pod_enis,
    "PodNetworking": _of_networkings,
    "Node": _of_nodes,
}
