"""terway-cli migrate: from upstream Terway to this one in place, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import click

from terway.cli.exits import FOUND, OK
from terway.cli.migrate_back import go_back, returned_of
from terway.cli.migrate_plan import LABEL, plan_migration
from terway.cli.migrate_read import read_world
from terway.cli.migrate_text import plan_lines
from terway.cli.place import Place, find_place, place_options
from terway.cli.read_kube import open_client
from terway.cli.table import counted, print_json, print_lines, wrapped
from terway.kube.resource import NODES
from terway.model.errors import UsageError
from terway.store.readonly import read_journal


@click.command("migrate")
@click.option("--dry-run", is_flag=True, help="Say what would change, and do nothing: the default.")
@click.option("--node", default="", help="With --yes: take this node over, by its label.")
@click.option("--back", is_flag=True, help="Give this node back to upstream.")
@click.option("--yes", is_flag=True, help="Do it.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@place_options
def command(
    *, dry_run: bool, node: str, back: bool, yes: bool, as_json: bool, **where: str
) -> None:
    """Say in which steps this node and its cluster move from upstream Terway, and take one.

    Without --yes nothing is changed: each step is shown with what it changes, what running pods
    notice, and its command; of a node that was taken over, whether each pod has its address.
    --yes --node NAME labels a node: upstream's agent leaves it, and ours comes. --back --yes, on
    a node without a running agent, writes upstream's journal and takes away what upstream has not.

    Exit code 1 when a step cannot be taken as things are.
    """
    if dry_run and yes:
        raise UsageError("--dry-run and --yes: one of them", field="--yes")
    place = find_place(**where)
    if back:
        print_lines(_back(place, is_meant=yes))
        raise SystemExit(OK)
    if yes:
        if not node:
            text = "--yes needs --node NAME: nodes are taken over one by one"
            raise UsageError(text, field="--node")
        print_lines(asyncio.run(_label(node, **where)))
        raise SystemExit(OK)
    plan = plan_migration(asyncio.run(read_world(place)))
    if as_json:
        print_json(plan)
    else:
        print_lines(plan_lines(plan))
    raise SystemExit(FOUND if plan.is_blocked else OK)


def _back(place: Place, *, is_meant: bool) -> Iterator[str]:
    if is_meant:
        for line in asyncio.run(go_back(place)):
            yield from wrapped(line)
        return
    returned = returned_of(read_journal(place.journal))
    yield f"ResRelation.db would have {counted(len(returned.pods), 'pod')}"
    for one in returned.pods:
        addresses = ", ".join(str(ip) for part in one.interfaces for ip in part.addresses)
        yield from wrapped(f"{one.pod}  {addresses}", indent=2)
    for pod, why in returned.kept:
        yield from wrapped(f"not: {pod}: {why}", indent=2)
    yield from wrapped(
        "guards, tables of nftables and programs of eBPF would go; policies are in force again "
        "when upstream's policy container runs. Nothing was changed: --yes"
    )


async def _label(node: str, **where: str) -> list[str]:
    async with open_client(find_place(**where)) as client:
        await client.patch(NODES, node, {"metadata": {"labels": {LABEL: "true"}}})
    return [
        f"node {node}: labelled {LABEL}=true",
        *wrapped("when its agent is Ready, on the node: terway-cli migrate; terway-cli doctor"),
    ]
