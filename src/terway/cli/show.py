"""terway-cli show: what is this node, and what does it hold?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import click

from terway.cli.collect import Wanted
from terway.cli.exits import CANNOT_REACH, OK
from terway.cli.snapshot import JournalView, Snapshot
from terway.cli.source import source_options, take_snapshot
from terway.cli.table import print_json, print_lines, table_lines, wrapped
from terway.model.attachment import Attachment


@click.command("show")
@source_options
def command(bundle: str, as_json: bool, **where: str) -> None:
    """Show a node: its pool, its ENIs, its pods and their addresses.

    Works with terwayd down: the journal, the kernel, the cloud and Kubernetes are asked directly.
    Exit code 3 when none of them could be read.
    """
    snapshot = take_snapshot(bundle, Wanted(), **where)
    if as_json:
        print_json(snapshot)
    else:
        print_lines(show_lines(snapshot))
    is_blind = snapshot.journal is None and snapshot.kernel is None and snapshot.cloud is None
    raise SystemExit(CANNOT_REACH if is_blind else OK)


def show_lines(snapshot: Snapshot) -> list[str]:
    """Return the node at a glance."""
    return [
        *_head(snapshot),
        *_pool(snapshot),
        *_enis(snapshot),
        *_pods(snapshot),
        *_notes(snapshot),
    ]


def _head(snapshot: Snapshot) -> Iterator[str]:
    yield f"node       {snapshot.node_name}   terway {snapshot.version}   {snapshot.taken_at}"
    instance = snapshot.instance
    if instance is not None:
        yield f"instance   {instance.instance_id} {instance.instance_type} in {instance.zone_id}"
        yield f"VPC        {instance.vpc_id} {instance.vpc_cidr}"
    agent = snapshot.agent
    if agent is None:
        yield from wrapped(f"terwayd    down: {snapshot.why_missing('agent')}")
    else:
        state = "serving" if agent.is_ready else "not serving yet"
        yield f"terwayd    {state}"
        if not agent.can_add:
            yield from wrapped(f"           no pod can be added: {agent.reason}")


def _pool(snapshot: Snapshot) -> Iterator[str]:
    journal, agent = snapshot.journal, snapshot.agent
    if journal is None:
        return
    held = {address for one in journal.attachments for address in one.lease.addresses}
    free = [one for one in journal.slots if one.address not in held and not one.is_retiring]
    capacity = f" of at most {agent.capacity}" if agent is not None else ""
    yield f"pool       {len(journal.attachments)} pods{capacity}, {len(free)} addresses not bound"
    if journal.intents:
        yield f"           {journal.intents} calls to the cloud are not recorded as done"


def _enis(snapshot: Snapshot) -> Iterator[str]:
    journal = snapshot.journal or JournalView()
    phases = {one.id: one.phase for one in journal.enis}
    links = {one.mac: one for one in snapshot.kernel.node.links} if snapshot.kernel else {}
    bound = Counter(one.lease.eni_id for one in journal.attachments)
    rows: list[tuple[str, ...]] = []
    for eni in snapshot.cloud.enis if snapshot.cloud else ():
        link = links.get(eni.mac)
        counts = f"{len(eni.ipv4)}+{len(eni.ipv6)}"
        where = link.name if link is not None else "-"
        phase = phases.pop(eni.id, eni.type.value.lower())
        rows.append((eni.id, where, eni.status.value, phase, counts, str(bound[eni.id])))
    rows += ((one, "-", "?", phase, "", str(bound[one])) for one, phase in phases.items())
    if rows:
        yield ""
        heads = ("ENI", "LINK", "CLOUD", "POOL", "IPV4+6", "PODS")
        yield from table_lines(heads, rows)


def _pods(snapshot: Snapshot) -> Iterator[str]:
    journal = snapshot.journal
    if journal is None or not journal.attachments:
        return
    links = {one.key: one.host_link for one in snapshot.kernel.pods} if snapshot.kernel else {}
    rows = [
        (
            owner_of(one),
            " ".join(map(str, one.lease.addresses)),
            links.get(one.key, "?"),
        )
        for one in sorted(journal.attachments, key=owner_of)
    ]
    yield ""
    yield from table_lines(("POD", "ADDRESSES", "LINK"), rows)


def owner_of(attachment: Attachment) -> str:
    """Return whose an attachment is, as people name it."""
    name = str(attachment.pod) if attachment.pod else attachment.key.container_id
    ifname = attachment.key.ifname
    return name if ifname == "eth0" else f"{name} {ifname}"


def _notes(snapshot: Snapshot) -> Iterator[str]:
    config = snapshot.config
    notes = [f"configuration: {one}" for one in config.cautions] if config else []
    if config is not None and config.refusal:
        notes.append(f"configuration refused: {config.refusal}")
    notes += [
        f"node {one.name}: {text}"
        for one in (snapshot.kubernetes.nodes if snapshot.kubernetes else ())
        if one.name == snapshot.node_name
        for text in one.conditions
    ]
    notes += [
        f"{one.source} could not be read: {one.reason}"
        for one in snapshot.missing
        if one.source != "agent"
    ]
    if notes:
        yield ""
    for note in notes:
        yield from wrapped(f"! {note}")
