"""terway-cli migrate, done: what is asked before, shown meanwhile, and said at the end."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from terway.cli.chart.render import find_chart, read_values, render
from terway.cli.chart.settings import overlaid
from terway.cli.migrate_action import Action, Goal
from terway.cli.migrate_cluster import LABEL, NAMESPACE, SAVED, Cluster, Taken
from terway.cli.migrate_do import Performer, in_order
from terway.cli.migrate_next import next_forward
from terway.cli.migrate_reach import reading, refuse_unknown
from terway.cli.migrate_return import next_back
from terway.cli.migrate_run import DEFAULT_PACE, Pace, go_through
from terway.cli.migrate_seen import read_cluster
from terway.cli.place import Place
from terway.cli.read_kube import open_client
from terway.cli.table import print_json, print_lines, wrapped
from terway.model.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person asks for. `manifests` of the chart, or a file's: Helm may have made it."""

    goal: Goal
    manifests: tuple[dict[str, Any], ...] = ()
    is_back: bool = False
    is_json: bool = False
    pace: Pace = DEFAULT_PACE


def rendered(files: Sequence[str], settings: Sequence[str]) -> tuple[dict[str, Any], ...]:
    """Return the chart's objects for nodes that are taken over, in the order of their use."""
    chart = find_chart()
    values = read_values([Path(one) for one in files], settings, chart=chart)
    apart = {"agent": {"nodeSelector": {LABEL: Taken.YES.value}}}
    return tuple(in_order(yaml.safe_load_all(render(overlaid(values, apart), chart=chart))))


def read_manifests(path: str) -> tuple[dict[str, Any], ...]:
    """Return the objects of a file of manifests; our DaemonSet is for taken-over nodes alone.

    Raises UsageError for what is no such file.
    """
    try:
        found = [one for one in yaml.safe_load_all(Path(path).read_text()) if one]
        for one in found:
            if one["kind"] == "DaemonSet":
                selector = one["spec"]["template"]["spec"].setdefault("nodeSelector", {})
                selector[LABEL] = Taken.YES.value
        return tuple(in_order(found))
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{path} is no file of our manifests: {error}", field="--manifests"
        ) from None


def name_of(manifests: Sequence[Mapping[str, Any]]) -> str:
    """Return a name of manifests that changes with them; empty of none."""
    text = msgspec.json.encode(list(manifests), order="deterministic")
    return hashlib.sha256(text).hexdigest()[:16] if manifests else ""


async def check(place: Place, wish: Wish) -> None:
    """Raise TransientError when the cluster cannot be read, UsageError for what cannot be there."""
    with reading():
        async with open_client(place) as client:
            cluster = await read_cluster(client)
    refuse_unknown(wish.goal.nodes, [one.name for one in cluster.members])
    _check_ends(cluster, wish)


async def fulfil(place: Place, wish: Wish) -> tuple[Action, ...]:
    """Do what is wished, and tell of each step."""
    async with open_client(place) as client:

        async def read() -> Cluster:
            return await read_cluster(client)

        performer = Performer(client=client, manifests=wish.manifests, applied=wish.goal.applied)
        next_of = next_back if wish.is_back else next_forward
        told = _silent if wish.is_json else _tell
        return await go_through(read, performer, next_of, wish.goal, told=told, pace=wish.pace)


def _check_ends(cluster: Cluster, wish: Wish) -> None:
    """Raise UsageError where there is nothing to come from, or to go back to."""
    has_theirs = any(not one.is_ours for one in cluster.workloads)
    if not wish.is_back and not (has_theirs or cluster.is_saved):
        text = "no upstream Terway is in this cluster: install ours by docs/install.md"
        raise UsageError(text, field="migrate")
    is_all = wish.is_back and not wish.goal.nodes
    if is_all and not cluster.is_saved and any(one.is_ours for one in cluster.workloads):
        text = f"ConfigMap {NAMESPACE}/{SAVED} is gone, which has upstream's objects"
        raise UsageError(f"{text}: install upstream, then --back --node NAME", field="--all")


def report(done: Sequence[Action], *, is_json: bool) -> None:
    """Say what was done."""
    if is_json:
        print_json({"done": [{"do": one.do.value, "text": one.text} for one in done]})
    elif not done:
        print_lines(["nothing was left to do"])
    else:
        print_lines([f"done: {len(done)} changes"])


def _tell(action: Action) -> None:
    print_lines(wrapped(action.text))


def _silent(_: Action) -> None:
    return
