"""terway-cli migrate: from upstream Terway to this one in place, and back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import click

from terway.cli.exits import CANNOT_REACH, FOUND, OK
from terway.cli.migrate_action import Action, Goal
from terway.cli.migrate_back import go_back, is_given_back, refuse_kept, returned_lines, returned_of
from terway.cli.migrate_hold import answers_webhook
from terway.cli.migrate_plan import plan_migration
from terway.cli.migrate_reach import refuse_unknown
from terway.cli.migrate_read import read_world
from terway.cli.migrate_text import plan_lines
from terway.cli.migrate_whole import Wish, check, fulfil, name_of, read_manifests, rendered, report
from terway.cli.place import Place, find_place, place_options
from terway.cli.table import print_json, print_lines, wrapped
from terway.model.errors import UsageError
from terway.store.readonly import read_journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options, as click has them."""

    is_dry: bool
    files: tuple[str, ...]
    settings: tuple[str, ...]
    manifests: str
    nodes: tuple[str, ...]
    is_finishing: bool
    is_back: bool
    is_all: bool
    is_meant: bool
    is_json: bool

    def check(self) -> None:
        """Raise UsageError for what does not go together."""
        if self.is_dry and self.is_meant:
            raise UsageError("--dry-run and --yes: one of them", field="--yes")
        if self.is_json and not (self.is_dry or self.is_meant):
            raise UsageError("--json cannot ask: say --dry-run or --yes", field="--json")
        if self.is_all and (self.nodes or not self.is_back):
            raise UsageError("--all is for --back, and without --node", field="--all")
        if self.is_finishing and (self.nodes or self.is_back):
            text = "--finish ends a migration of all nodes: without --node and --back"
            raise UsageError(text, field="--finish")


@click.command("migrate")
@click.option("--dry-run", "--print", "is_dry", is_flag=True, help="Change nothing, only say.")
@click.option("--values", "files", multiple=True, help="A values file of the chart, as for Helm.")
@click.option("--set", "settings", multiple=True, help="One value of it: NAME=VALUE.")
@click.option("--manifests", default="", help="A file of our manifests, in place of the chart.")
@click.option("--node", "nodes", multiple=True, help="Only this node; may be repeated.")
@click.option("--finish", "is_finishing", is_flag=True, help="Upstream's DaemonSet goes, too.")
@click.option("--back", "is_back", is_flag=True, help="Back to upstream: nodes, or this one.")
@click.option("--all", "is_all", is_flag=True, help="With --back: all nodes, and what is ours.")
@click.option("--yes", "is_meant", is_flag=True, help="Do not ask.")
@click.option("--json", "is_json", is_flag=True, help="For programs.")
@place_options
def command(*, kubeconfig: str, node_name: str, root: str, **given: object) -> None:
    """Move a cluster from upstream Terway to this one, node by node; or back.

    With --dry-run nothing is changed: each step is shown with what it changes and what running
    pods notice; on a node, also what becomes of each of its pods. Without, the plan is shown,
    asked about, and done. What was interrupted goes on where it was when this is run again.

    --back --node NAME gives a node back, --back --all the cluster. --back alone is its part on a
    node that has no agent.

    Exit code 1 when a step cannot be taken as things are; 3 when the cluster cannot be read, and
    what is shown is about this node alone.
    """
    asked = Asked(**given)  # type: ignore[arg-type]  # click has made them what they are
    asked.check()
    place = find_place(kubeconfig=kubeconfig, node_name=node_name, root=root)
    if asked.is_back and not asked.nodes and not asked.is_all:
        _back_here(place, asked)
    elif asked.is_back:
        _do(place, asked, _steps_back(asked))
    else:
        _forward(place, asked)


def _forward(place: Place, asked: Asked) -> None:
    world = asyncio.run(read_world(place))
    if world.cluster is not None:
        refuse_unknown(asked.nodes, world.cluster.nodes)
    plan = plan_migration(world, nodes=asked.nodes)
    is_end = asked.is_dry or plan.is_blocked or world.cluster is None
    if not asked.is_json:
        print_lines(plan_lines(plan))
    elif is_end:
        print_json(plan)
    if is_end:
        code = FOUND if plan.is_blocked else OK
        raise SystemExit(CANNOT_REACH if world.cluster is None else code)
    if asked.manifests:
        manifests = read_manifests(asked.manifests)
    else:
        manifests = rendered(asked.files, asked.settings)
    goal = Goal(
        applied=name_of(manifests),
        nodes=asked.nodes,
        is_asked=answers_webhook(manifests),
        is_finishing=asked.is_finishing,
    )
    _do(place, asked, (Wish(goal=goal, manifests=manifests, is_json=asked.is_json), ()))


def _steps_back(asked: Asked) -> tuple[Wish, tuple[str, ...]]:
    whom = ", ".join(asked.nodes) or "all nodes"
    lines = wrapped(
        f"{whom}: can every pod go back? Then our agent leaves, upstream's journal is written, "
        "what is ours goes from the kernel, and upstream's agent comes. Running pods keep address "
        "and connections."
    )
    if asked.is_all:
        lines += wrapped("Then our objects go, and upstream's are put back as they were.")
    wish = Wish(goal=Goal(nodes=asked.nodes), is_back=True, is_json=asked.is_json)
    return wish, tuple(lines)


def _do(place: Place, asked: Asked, what: tuple[Wish, tuple[str, ...]]) -> None:
    wish, lines = what
    asyncio.run(check(place, wish))
    if not asked.is_json:
        print_lines(lines)
    if asked.is_dry:
        raise SystemExit(OK)
    if not asked.is_meant:
        click.confirm("Do this now?", abort=True)
    done: tuple[Action, ...] = asyncio.run(fulfil(place, wish))
    report(done, is_json=asked.is_json)


def _back_here(place: Place, asked: Asked) -> None:
    """Do this node's part of the way back: its journal, its kernel."""
    if is_given_back(place):
        print_lines(wrapped(f"{place.journal} is set aside already: this node was given back"))
        raise SystemExit(OK)
    returned = returned_of(read_journal(place.journal))
    if not asked.is_json:
        print_lines(returned_lines(returned))
    refuse_kept(returned)
    if asked.is_dry:
        raise SystemExit(OK)
    if not asked.is_meant:
        click.confirm("Do this now?", abort=True)
    done = asyncio.run(go_back(place))
    if asked.is_json:
        print_json({"done": done})
    else:
        print_lines(line for text in done for line in wrapped(text))
