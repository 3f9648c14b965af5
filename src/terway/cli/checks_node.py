"""What is wrong in the node's kernel, and with what terwayd put on it?"""

from __future__ import annotations

from collections.abc import Iterator

from terway.cli.finding import Finding, command_of, delete_pod, error, note, warning
from terway.cli.hops import RESTART_AGENT, cloud_words, plug_words
from terway.cli.mapping import mapping_of
from terway.cli.prefixes import prefixes_of
from terway.cli.show import owner_of
from terway.cli.snapshot import JournalView, KernelView, Snapshot
from terway.cli.walk_pod import losses
from terway.datapath.names import HOST_LINK_PREFIX, OWNER_PREFIX
from terway.datapath.plan import is_pod_rule
from terway.model.address import IPAddress
from terway.model.attachment import Attachment
from terway.model.ids import ENIId
from terway.model.network import NODE, DeleteLink, Link, LinkSettings, Operation, Put, Remove

_UPSTREAM_FILTERS = (50001, 50002)
_UPSTREAM_DATABASE = "/var/lib/cni/terway/ResRelation.db"


def check_sources(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield who does not answer."""
    for one in snapshot.missing:
        match one.source:
            case "agent":
                why = f"no pod is added or mended meanwhile: {one.reason}"
                yield error("terwayd is down", why, RESTART_AGENT)
            case "kubernetes":
                command = "terway-cli doctor --kubeconfig FILE"
                yield warning("the Kubernetes API was not read", one.reason, command)
            case source:
                yield error(f"{source} was not read", one.reason, "terway-cli show")
    agent = snapshot.agent
    if agent is not None and not agent.can_add:
        yield error("no pod can be added", agent.reason, _room(snapshot))


def _room(snapshot: Snapshot) -> str:
    """Return what to do about a node that takes no more pods."""
    instance = snapshot.instance
    kind = f" {instance.instance_type}" if instance is not None else ""
    larger = f"what its type holds, and others: terway-cli capacity{kind}"
    return f"kubectl cordon {snapshot.node_name}; {larger}"


def check_kernel(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield what in the kernel is not as planned, and what lies about."""
    kernel = snapshot.kernel
    if kernel is None:
        return
    if kernel.differences:
        what = "the node's own network settings are not as planned"
        yield error(what, "; ".join(kernel.differences), _words(kernel.repairs), kernel.repairs)
    yield from _tables(kernel)
    yield from _links(snapshot, kernel)
    yield from _pods(snapshot, kernel)
    yield from _leftovers(snapshot, kernel)
    yield from _losses(snapshot, kernel)


def _links(snapshot: Snapshot, kernel: KernelView) -> Iterator[Finding]:
    journal = snapshot.journal
    if journal is None:
        return
    inside = {one.mac for pod in kernel.pods if pod.seen for one in pod.seen.links}
    for eni in journal.enis:
        link = next((one for one in kernel.node.links if one.mac == eni.mac), None)
        if link is None and eni.phase == "in use" and eni.mac not in inside:
            why = f"no link has its MAC {eni.mac}; {cloud_words(snapshot, eni.id)}"
            why = f"{why}{_whose(journal, eni.id)}"
            what = f"ENI {eni.id} has no link on this node"
            yield error(what, why, plug_words(snapshot, eni.id))
        elif link is not None and not link.is_up and not journal.is_exclusive:
            fix = (Put(netns=NODE, object=LinkSettings(name=link.name)),)
            why = f"it is the link of {eni.id}; its pods reach nobody"
            yield error(f"link {link.name} is down", why, _words(fix), fix)
        elif link is not None and link.is_up and not link.has_carrier:
            why = f"the VPC does not hold the other end; {cloud_words(snapshot, eni.id)}"
            command = plug_words(snapshot, eni.id)
            yield error(f"link {link.name} of {eni.id} has no carrier", why, command)


def _whose(journal: JournalView, eni_id: ENIId) -> str:
    """Return which pods have addresses of an ENI."""
    names = sorted({owner_of(one) for one in journal.attachments if one.lease.eni_id == eni_id})
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"; of pods {', '.join(names[:3])}{more}" if names else "; no pod has an address of it"


def _tables(kernel: KernelView) -> Iterator[Finding]:
    for name in kernel.missing_tables:
        why = "what the node forwards for pods leaves, or is answered, by the wrong interface"
        yield error(f"table {name} of nftables is missing", why, RESTART_AGENT)


def _losses(snapshot: Snapshot, kernel: KernelView) -> Iterator[Finding]:
    """Yield what the pods' own guards and limits have dropped: right, but worth knowing."""
    journal = snapshot.journal
    held = {one.key: owner_of(one) for one in journal.attachments} if journal else {}
    for view in kernel.pods:
        name = held.get(view.key, str(view.key))
        why = "; ".join(losses(name, view))
        if why:
            command = f"terway-cli capture {name.partition(' ')[0]}"
            yield note(f"pod {name} has lost packets to what it may send", why, command)


def _pods(snapshot: Snapshot, kernel: KernelView) -> Iterator[Finding]:
    journal = snapshot.journal
    held = {one.key: one for one in journal.attachments} if journal else {}
    for view in kernel.pods:
        owner = owner_of(held[view.key]) if view.key in held else str(view.key)
        if view.seen is None:
            why = f"the journal holds its addresses; the namespace {held[view.key].netns} is gone"
            command = f"{RESTART_AGENT}; or let the runtime's next GC free it"
            yield warning(f"pod {owner} is gone without a DEL", why, command)
        elif view.differences and not _is_left(snapshot, held.get(view.key), kernel):
            repair = _words(view.repairs) if view.repairs else delete_pod(owner)
            why = "; ".join(view.differences)
            yield error(f"pod {owner} is not as planned", why, repair, view.repairs)


def _is_left(snapshot: Snapshot, held: Attachment | None, kernel: KernelView) -> bool:
    """Return whether a pod's ENI is not attached: that is the finding, and the pod its victim."""
    cloud = snapshot.cloud
    if held is None or cloud is None or any(one.id == held.lease.eni_id for one in cloud.enis):
        return False
    return all(one.mac != held.device_mac for one in kernel.node.links)


def _leftovers(snapshot: Snapshot, kernel: KernelView) -> Iterator[Finding]:
    journal = snapshot.journal
    if journal is None:
        return
    owned = {address for one in journal.attachments for address in one.lease.addresses}
    for rule in kernel.node.rules:
        end = rule.source or rule.destination
        if is_pod_rule(rule) and end is not None and end.network_address not in owned:
            fix = (Remove(netns=NODE, object=rule),)
            why = f"no pod here has {end.network_address}; whoever gets it next would be misled"
            yield warning(f"rule {rule.priority} about {end} is nobody's", why, _words(fix), fix)
    names = {one.host_link for one in kernel.pods}
    for link in kernel.node.links:
        if link.name.startswith(HOST_LINK_PREFIX) and link.name not in names:
            yield _stray(link)
    for one in kernel.node.filters:
        if one.priority in _UPSTREAM_FILTERS:
            why = "upstream Terway left it; it changes pods' packets behind our back"
            command = f"tc filter delete dev {one.link} ingress prio {one.priority}"
            yield warning(f"tc filter {one.priority} on {one.link}", why, command)


def _stray(link: Link) -> Finding:
    fix: tuple[Operation, ...] = ()
    if link.alias.startswith(OWNER_PREFIX):
        fix = (DeleteLink(name=link.name, now=True),)
    whose = "ours by its alias" if fix else "perhaps of Calico or upstream Terway"
    why = f"the journal knows no pod of this link; it is {whose}"
    command = f"ip link delete {link.name}"
    return warning(f"link {link.name} is nobody's", why, command, fix)


def check_mapping(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield addresses of pods that the cloud or Kubernetes see otherwise: one cause, one finding.

    The kernel's differences are findings of their own, and so is an ENI that is not attached.
    """
    causes: dict[tuple[str, str], list[IPAddress]] = {}
    for row in mapping_of(snapshot):
        for text in row.differences:
            is_about = text.startswith(("the journal has it", "its ENI", "bound to", "pod "))
            if is_about and not _is_of_detached(snapshot, row.address):
                owner = row.journal if row.journal and "/" in row.journal else ""
                causes.setdefault((text, owner), []).append(row.address)
    for (text, owner), addresses in causes.items():
        command = delete_pod(owner) if owner else "terway-cli mapping --differences"
        more = f" and {len(addresses) - 2} more" if len(addresses) > 2 else ""
        what = f"{', '.join(map(str, addresses[:2]))}{more}: not the same everywhere"
        yield error(what, f"{text}; {owner or 'of no pod'}", command)


def _is_of_detached(snapshot: Snapshot, address: IPAddress) -> bool:
    """Return whether the journal has an address on an ENI that the instance does not have."""
    journal, cloud = snapshot.journal, snapshot.cloud
    if journal is None or cloud is None:
        return False
    there = {one.id for one in cloud.enis}
    pairs = ((one.address, one.eni_id) for one in journal.slots)
    leases = ((x, one.lease.eni_id) for one in journal.attachments for x in one.lease.addresses)
    return any(x == address and eni_id not in there for x, eni_id in (*pairs, *leases))


def check_prefixes(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield prefixes that cloud and journal see otherwise: a difference is of many addresses."""
    for row in prefixes_of(snapshot):
        if row.difference:
            made = error if row.bound else note
            why = f"{row.difference}; {row.bound} of its addresses are bound to pods"
            command = "terway-cli show; then delete the pods with its addresses"
            yield made(f"prefix {row.network} is not the same everywhere", why, command)


def check_host_files(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield files that upstream left."""
    host = snapshot.host
    if host is not None and _UPSTREAM_DATABASE in host.files:
        why = "upstream Terway's database; nothing here reads it once its pods are gone"
        yield note(_UPSTREAM_DATABASE, why, f"rm {_UPSTREAM_DATABASE}")


def _words(operations: tuple[Operation, ...]) -> str:
    return "; ".join(map(command_of, operations)) or RESTART_AGENT
