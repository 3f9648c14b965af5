"""terway-cli show: what is this node, and what does it hold?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import click

from terway.cli.collect import Wanted
from terway.cli.exits import CANNOT_REACH, OK
from terway.cli.prefixes import prefix_lines, prefixes_of
from terway.cli.snapshot import JournalView, Snapshot, SupplyView
from terway.cli.source import source_options, take_snapshot
from terway.cli.table import counted, print_json, print_lines, table_lines, wrapped
from terway.model.attachment import Attachment
from terway.model.eni import ENI
from terway.model.ids import MacAddress


@click.command("show")
@source_options
def command(bundle: str, as_json: bool, **where: str) -> None:
    """Show a node: its pool, its ENIs, its pods and their addresses.

    Works with terwayd down: the journal, the kernel, the cloud and Kubernetes are asked directly.
    What could not be read is named; exit code 3 when nothing could but the kernel.
    """
    snapshot = take_snapshot(bundle, Wanted(), **where)
    if as_json:
        print_json(snapshot)
    else:
        print_lines(show_lines(snapshot))
    raise SystemExit(CANNOT_REACH if snapshot.is_blind else OK)


def show_lines(snapshot: Snapshot) -> list[str]:
    """Return the node at a glance."""
    return [
        *_head(snapshot),
        *_pool(snapshot),
        *_datapath(snapshot),
        *_enis(snapshot),
        *_prefixes(snapshot),
        *_pods(snapshot),
        *_notes(snapshot),
    ]


def _head(snapshot: Snapshot) -> Iterator[str]:
    yield f"node       {snapshot.node_name}   terway {snapshot.version}   {snapshot.taken_at}"
    for text in _not_here(snapshot):
        yield from wrapped(text, indent=11)
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


def _not_here(snapshot: Snapshot) -> Iterator[str]:
    """Yield why what follows may not be what was meant: another's name, or no node at all."""
    kernel, kube = snapshot.kernel, snapshot.kubernetes
    nodes = kube.nodes if kube is not None else ()
    own = {one.address.ip for one in kernel.node.addresses} if kernel is not None else set()
    named = next((one for one in nodes if one.name == snapshot.node_name), None)
    if named is not None and own and own.isdisjoint(named.addresses):
        addresses = ", ".join(map(str, named.addresses))
        yield f"this host is not it: it has no address of the node's ({addresses})"
    elif snapshot.guests and snapshot.agent is None and snapshot.journal is None:
        guests = ", ".join(snapshot.guests)
        yield f"this host is no node. Nodes run within it: {guests}"
        yield f"ask one: terway-lab run {snapshot.guests[0]} terway-cli show"


def _pool(snapshot: Snapshot) -> Iterator[str]:
    journal, agent = snapshot.journal, snapshot.agent
    if journal is None:
        return
    mode = "exclusive: each pod has an ENI" if journal.is_exclusive else "shared: pods share ENIs"
    yield f"mode       {mode}"
    held = {address for one in journal.attachments for address in one.lease.addresses}
    free = [one for one in journal.slots if one.address not in held and not one.is_retiring]
    pods = sum(not one.spec.parent for one in journal.attachments)
    capacity = f" of at most {agent.capacity}" if agent is not None else ""
    word = "pod" if pods == 1 else "pods"
    yield f"pool       {pods} {word}{capacity}, {len(free)} addresses not bound"
    yield from _limits(snapshot)
    if journal.intents:
        yield f"           {journal.intents} calls to the cloud are not recorded as done"
    if snapshot.cloud is not None and snapshot.cloud.supply is not None:
        yield from _supply(snapshot.cloud.supply)


def _supply(supply: SupplyView) -> Iterator[str]:
    """Yield what the control plane says that sees to the pool."""
    until = f", next {supply.compares_at}" if supply.compares_at else ""
    yield f"supply     read of the cloud {supply.compared_at or 'never'}{until}"
    if supply.warmed_up < supply.warm_up:
        yield f"           warming up: {supply.warmed_up} of {supply.warm_up} addresses"
    if supply.shrinks_at:
        yield f"           idle: gives addresses back {supply.shrinks_at}"
    for said in (supply.reason and f"no more addresses: {supply.reason}", *supply.troubles):
        if said:
            yield from wrapped(f"           {said}")


def _datapath(snapshot: Snapshot) -> Iterator[str]:
    """Yield what pods' packets go by, where that is more than policy routing."""
    ebpf, agent = snapshot.ebpf, snapshot.agent
    if agent is not None and agent.lacks:
        yield from wrapped(f"data path  not {agent.asked_mode}: {agent.lacks}")
    if ebpf is None:
        return
    parts = (("services", ebpf.does_services), ("policies", ebpf.does_policy))
    does = " and ".join(word for word, is_done in parts if is_done) or "no services or policies"
    ends = counted(len(ebpf.endpoints), "endpoint")
    memory = f"maps {ebpf.memory_bytes / 1e6:.0f} MB"
    lost = sum(one.packets for one in ebpf.losses)
    yield f"data path  eBPF with {does}"
    yield f"           {ends}, {memory}, {counted(lost, 'packet')} lost"


def _limits(snapshot: Snapshot) -> Iterator[str]:
    """Yield what the instance type allows."""
    limits = snapshot.cloud.limits if snapshot.cloud is not None else None
    if limits is None:
        return
    v4, v6 = limits.eni_private_ip_address_quantity, limits.eni_ipv6_address_quantity
    yield f"type       {limits.eni_quantity} ENIs of {v4} IPv4 and {v6} IPv6 addresses"


def _enis(snapshot: Snapshot) -> Iterator[str]:
    journal = snapshot.journal or JournalView()
    phases = {one.id: one.phase for one in journal.enis}
    links = _links(snapshot)
    bound = Counter(one.lease.eni_id for one in journal.attachments)
    rows: list[tuple[str, ...]] = []
    for eni in snapshot.cloud.enis if snapshot.cloud else ():
        counts = f"{len(eni.ipv4)}+{len(eni.ipv6)}"
        phase = phases.pop(eni.id, _kind(eni))
        where = links.get(eni.mac, "-")
        rows.append((eni.id, where, eni.status.value, phase, counts, str(bound[eni.id])))
    state = "?" if snapshot.cloud is None else "detached"
    rows += ((one, "-", state, phase, "", str(bound[one])) for one, phase in phases.items())
    if rows:
        yield ""
        heads = ("ENI", "LINK", "CLOUD", "POOL", "IPV4+6", "PODS")
        yield from table_lines(heads, rows)


def _kind(eni: ENI) -> str:
    """Return what an ENI is that the pool does not have."""
    kind = eni.type.value.lower()
    return f"{kind}, ERDMA" if eni.traffic_mode == "HighPerformance" else kind


def _links(snapshot: Snapshot) -> dict[MacAddress, str]:
    """Return the links by MAC: those of the node, and the devices that are in pods."""
    kernel = snapshot.kernel
    if kernel is None:
        return {}
    found = {
        one.mac: f"in pod: {one.name}"
        for pod in kernel.pods
        for one in (pod.seen.links if pod.seen else ())
        if one.mac
    }
    return found | {one.mac: one.name for one in kernel.node.links if one.mac}


def _prefixes(snapshot: Snapshot) -> Iterator[str]:
    rows = prefixes_of(snapshot)
    if rows:
        yield ""
        yield from prefix_lines(rows)


def _pods(snapshot: Snapshot) -> Iterator[str]:
    journal = snapshot.journal
    if journal is None or not journal.attachments:
        return
    links = {one.key: one.host_link for one in snapshot.kernel.pods} if snapshot.kernel else {}
    rows: list[tuple[str, ...]] = [
        (owner_of(one), str(address), links.get(one.key, "?"), limit_of(one))
        for one in sorted(journal.attachments, key=owner_of)
        for address in one.lease.addresses
    ]
    heads: tuple[str, ...] = ("POD", "ADDRESS", "LINK", "IN/OUT BIT/S")
    if all(row[3] == "-" for row in rows):
        heads, rows = heads[:3], [row[:3] for row in rows]
    yield ""
    yield from table_lines(heads, _once(rows), whole="ADDRESS")


def _once(rows: Iterable[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """Yield the rows; what is said of a pod is not said again for its second address."""
    last = ""
    for name, address, *rest in rows:
        yield ("", address, *("" for _ in rest)) if name == last else (name, address, *rest)
        last = name


def limit_of(attachment: Attachment) -> str:
    """Return the bandwidth limits of an attachment, in and out, in bits per second."""
    bandwidth = attachment.spec.bandwidth
    ends = (bandwidth.ingress, bandwidth.egress)
    if ends == (None, None):
        return "-"
    return "/".join("-" if one is None else _rate(8 * one) for one in ends)


def _rate(bits_s: int) -> str:
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if bits_s >= size:
            return f"{bits_s / size:.3g}{unit}"
    return str(bits_s)


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
