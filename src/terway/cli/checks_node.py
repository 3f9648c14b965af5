"""What is wrong in the node's kernel, and with what terwayd put on it?"""

from __future__ import annotations

from collections.abc import Iterator

from terway.cli.finding import Finding, command_of, error, note, warning
from terway.cli.hops import RESTART_AGENT
from terway.cli.mapping import mapping_of
from terway.cli.prefixes import prefixes_of
from terway.cli.show import owner_of
from terway.cli.snapshot import KernelView, Snapshot
from terway.cli.walk_pod import losses
from terway.datapath.names import HOST_LINK_PREFIX, OWNER_PREFIX
from terway.datapath.plan import is_pod_rule
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
        yield error("no pod can be added", agent.reason, "terway-cli mapping; terway-cli capacity")


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
            why = f"the pool has it in use; its MAC is {eni.mac}{_in_cloud(snapshot, eni.id)}"
            command = _plug(snapshot, eni.id)
            yield error(f"ENI {eni.id} has no link on this node", why, command)
        elif link is not None and not link.is_up and not journal.is_exclusive:
            fix = (Put(netns=NODE, object=LinkSettings(name=link.name)),)
            why = f"it is the link of {eni.id}; its pods reach nobody"
            yield error(f"link {link.name} is down", why, _words(fix), fix)
        elif link is not None and link.is_up and not link.has_carrier:
            why = f"the VPC does not hold the other end of {eni.id}{_in_cloud(snapshot, eni.id)}"
            yield error(f"link {link.name} has no carrier", why, _plug(snapshot, eni.id))


def _in_cloud(snapshot: Snapshot, eni_id: ENIId) -> str:
    if snapshot.cloud is None:
        return ""
    found = next((one for one in snapshot.cloud.enis if one.id == eni_id), None)
    state = f"is {found.status.value}" if found else "is not attached to this instance"
    return f"; by the cloud it {state}"


def _plug(snapshot: Snapshot, eni_id: ENIId) -> str:
    """Return what brings a link back: an attachment, or a look of the kernel at its bus."""
    cloud, instance = snapshot.cloud, snapshot.instance
    if cloud is None or instance is None or any(one.id == eni_id for one in cloud.enis):
        return "echo 1 > /sys/bus/pci/rescan"
    ends = f"--NetworkInterfaceId {eni_id} --InstanceId {instance.instance_id}"
    return f"aliyun ecs AttachNetworkInterface {ends}"


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
        elif view.differences:
            repair = _words(view.repairs) if view.repairs else f"kubectl delete pod {owner}"
            why = "; ".join(view.differences)
            yield error(f"pod {owner} is not as planned", why, repair, view.repairs)


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
    """Yield addresses of pods that the cloud or Kubernetes see otherwise."""
    seen: set[str] = set()
    for row in mapping_of(snapshot):
        for text in row.differences:
            if not text.startswith(("the journal has it", "its ENI", "bound to", "pod ")):
                continue  # the kernel's are findings of their own
            key = f"{row.address}: {text}"
            if key in seen:
                continue
            seen.add(key)
            owner = row.journal if row.journal and "/" in row.journal else ""
            namespace, _, name = owner.partition("/")
            command = f"kubectl -n {namespace} delete pod {name}" if owner else "terway-cli mapping"
            yield error(f"{row.address} is not the same everywhere", key, command)


def check_prefixes(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield prefixes that cloud and journal see otherwise: a difference is of many addresses."""
    for row in prefixes_of(snapshot):
        if row.difference:
            made = error if row.bound else note
            why = f"{row.difference}; {row.bound} of its addresses are bound to pods"
            command = "kubectl delete these pods; then terway-cli mapping"
            yield made(f"prefix {row.network} is not the same everywhere", why, command)


def check_host_files(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield files that upstream left."""
    host = snapshot.host
    if host is not None and _UPSTREAM_DATABASE in host.files:
        why = "upstream Terway's database; nothing here reads it once its pods are gone"
        yield note(_UPSTREAM_DATABASE, why, f"rm {_UPSTREAM_DATABASE}")


def _words(operations: tuple[Operation, ...]) -> str:
    return "; ".join(map(command_of, operations)) or RESTART_AGENT
