"""What is wrong with a node's eBPF data path: its programs, its maps, and what it knows of pods?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from terway.cli.finding import Finding, delete_pod, error, note, warning
from terway.cli.hops import RESTART_AGENT
from terway.cli.show import owner_of
from terway.cli.snapshot import PodView, Snapshot
from terway.cli.snapshot_ebpf import DataPathView, EndpointView, HookView, LocalView, MapView
from terway.cli.table import counted
from terway.linux.ebpf.hooks import INNER_HOOKS
from terway.model.attachment import Attachment
from terway.model.endpoint import EndpointKind, endpoint_number
from terway.model.network import Link

_INSIDE = (EndpointKind.IPVLAN, EndpointKind.EXCLUSIVE)  # whose programs are inside the pod
_NEARLY = 0.9  # of its entries: a map without room loses packets, or fails an ADD
_KUBE_PROXY = "kube-proxy"
_NOBODY = "neither the data path nor kube-proxy does: services do not work on this node"
_SEE = "terway-cli drops; terway-cli monitor --drops"

# What was under way while a pod came or went. A pod that is here and loses packets so is found by
# its link, endpoint and hooks: the count, which outlives pods and terwayd, says nothing of now.
_PASSING = "unknown-pod"

# Losses that no policy and no stranger causes.
_TELLING = {
    "table-full": ("a map is full: make it larger in eni-config", "terway-cli doctor"),
    "no-port": ("too many connections from here to one backend", _SEE),
    "neighbour": ("a gateway or a pod's link does not answer", "ip neighbour show"),
    "kernel": ("the kernel refuses what the programs ask of it", _SEE),
}


def check_datapath(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield what is wrong, and what the node lacks of what it was asked for."""
    ebpf, journal = snapshot.ebpf, snapshot.journal
    yield from _fallback(snapshot)
    if ebpf is None:
        return
    attachments = journal.attachments if journal is not None else ()
    if ebpf.node is None:
        why = "what pods send out of the node, and answers by eth0, may go the wrong way"
        yield error("the data path does not know the node's uplink", why, RESTART_AGENT)
    yield from _maps(ebpf.maps)
    if journal is not None:
        yield from _endpoints(ebpf, attachments)
    links = snapshot.kernel.node.links if snapshot.kernel is not None else None
    yield from _missing(ebpf, links)
    yield from _ownerless(ebpf, attachments)
    yield from _versions(ebpf.hooks)
    if snapshot.kernel is not None:
        yield from _plugged_again(ebpf, attachments, snapshot.kernel.node.links)
        yield from _inner(ebpf, attachments, snapshot.kernel.pods)
    yield from _losses(ebpf)
    yield from _services(snapshot, ebpf)


def _fallback(snapshot: Snapshot) -> Iterator[Finding]:
    agent = snapshot.agent
    if agent is None or not agent.lacks:
        return
    had = agent.mode if snapshot.ebpf is not None else f"{agent.mode}, by policy routing"
    what = f"the node cannot have eniip_virtual_type {agent.asked_mode}: pods have {had}"
    remedy = "mend what is named and restart terwayd, or set eniip_virtual_type to what it has"
    yield warning(what, agent.lacks, remedy)
    if snapshot.ebpf is None and _lacks_kube_proxy(snapshot):
        yield error("nobody translates services", _NOBODY, "mend that, or run kube-proxy here")


def _maps(maps: Iterable[MapView]) -> Iterator[Finding]:
    for one in maps:
        if one.entries is None or one.forgets or one.entries < one.max_entries * _NEARLY:
            continue
        fill = f"map {one.name} has {one.entries:,} of {one.max_entries:,} entries"
        remedy = "make it larger in eni-config (docs: map sizes), and restart terwayd"
        if one.entries >= one.max_entries:
            why = "what has no room there is refused: an ADD fails, or packets are lost"
            yield error(f"{fill}: it is full", why, remedy)
        else:
            yield warning(fill, "it is nearly full", remedy)


def _endpoints(ebpf: DataPathView, attachments: Iterable[Attachment]) -> Iterator[Finding]:
    held = {endpoint_number(one.key): one for one in attachments}
    known = {one.endpoint.number: one for one in ebpf.endpoints}
    for number, attachment in held.items():
        if number in known:
            yield from _addresses(ebpf, attachment, known[number])
        else:
            what = f"pod {owner_of(attachment)} has no endpoint in the data path"
            why = "its packets go by the node's stack, without services, or are lost"
            yield error(what, why, f"{RESTART_AGENT}, or: {delete_pod(owner_of(attachment))}")
    for number in known.keys() - held.keys():
        addresses = ", ".join(map(str, known[number].endpoint.addresses))
        what = f"endpoint {number} ({addresses}) of the data path is of no pod"
        yield warning(what, "packets for it are led nowhere", RESTART_AGENT)


def _addresses(
    ebpf: DataPathView, attachment: Attachment, known: EndpointView
) -> Iterator[Finding]:
    """Yield the addresses of a pod that the data path does not lead to it, and a link that went."""
    pod = owner_of(attachment)
    for address in attachment.lease.addresses:
        local = ebpf.local(address)
        if local is None or local.endpoint != known.endpoint.number:
            where = _led_to(local)
            what = f"the data path leads {address} of pod {pod} to {where}"
            yield error(what, "what is sent to the pod does not reach it", RESTART_AGENT)
    links = dict(ebpf.links)
    is_led = known.endpoint.kind is EndpointKind.IPVLAN or not known.link
    if not is_led and links.get(known.link) != known.endpoint.number:
        what = f"the link of pod {pod} (number {known.link}) is not known to be its"
        yield error(what, "everything that the pod sends is dropped", RESTART_AGENT)


def _led_to(local: LocalView | None) -> str:
    if local is None:
        return "nobody"
    return f"endpoint {local.endpoint}" if local.endpoint else "the node itself"


def _plugged_again(
    ebpf: DataPathView, attachments: Iterable[Attachment], links: Iterable[Link]
) -> Iterator[Finding]:
    """Yield the pods whose ENI has another number by now. One without any is a finding itself."""
    numbers = {link.mac: link.ifindex for link in links}
    for one in attachments:
        known = ebpf.endpoint(endpoint_number(one.key))
        now = numbers.get(one.device_mac)
        if known is not None and known.endpoint.eni not in (0, now) and now is not None:
            what = f"pod {owner_of(one)} is led to its ENI as link {known.endpoint.eni}"
            why = f"the ENI is link {now} by now: what the pod sends out of the node is lost"
            yield error(what, why, RESTART_AGENT)


def _ownerless(ebpf: DataPathView, attachments: Iterable[Attachment]) -> Iterator[Finding]:
    """Yield the links with programs that lead to no endpoint. A pod without one is told as that."""
    numbers = {one.endpoint.number for one in ebpf.endpoints}
    numbers |= {endpoint_number(one.key) for one in attachments}
    owned = {ifindex for ifindex, number in ebpf.links if number in numbers}
    for hook in ebpf.hooks:
        if hook.program == "from_pod" and hook.ifindex not in owned:
            what = f"{hook.device} has programs of the data path and belongs to no endpoint"
            yield error(what, "everything that comes from it is dropped", RESTART_AGENT)


def _missing(ebpf: DataPathView, links: Collection[Link] | None) -> Iterator[Finding]:
    """Yield the links of endpoints and ENIs that lack a program. An ENI that is away lacks more."""
    numbers = {link.ifindex for link in links or ()}
    there = {(one.ifindex, one.program) for one in ebpf.hooks if one.pod is None}
    for one in ebpf.endpoints:
        eni = one.endpoint.eni
        wanted = [(eni, "from_eni")] if eni and (links is None or eni in numbers) else []
        if one.endpoint.kind is not EndpointKind.IPVLAN:
            wanted += [(one.link, "from_pod"), (one.link, "to_pod")]
        for ifindex, program in wanted:
            if (ifindex, program) not in there:
                addresses = ", ".join(map(str, one.endpoint.addresses))
                what = f"link {ifindex} of endpoint {addresses} lacks program {program}"
                why = "policies and services do not apply to what passes there"
                yield error(what, why, RESTART_AGENT)


def _inner(
    ebpf: DataPathView, attachments: Iterable[Attachment], pods: Iterable[PodView]
) -> Iterator[Finding]:
    """Yield the pods whose own device lacks a program: inside, a pod can take it away."""
    kinds = {one.endpoint.number: one.endpoint.kind for one in ebpf.endpoints}
    with_device = {one.key for one in pods if _has_device(one)}
    for one in attachments:
        if one.key in with_device and kinds.get(endpoint_number(one.key)) in _INSIDE:
            there = {hook.program for hook in ebpf.hooks if hook.pod == one.key}
            for program in sorted(set(INNER_HOOKS.values()) - there):
                what = f"{one.key.ifname} inside pod {owner_of(one)} lacks program {program}"
                why = "policies and services do not apply to what passes there"
                yield error(what, why, f"wait two minutes, or: {RESTART_AGENT}")


def _has_device(pod: PodView) -> bool:
    return pod.seen is not None and any(one.name == pod.key.ifname for one in pod.seen.links)


def _versions(hooks: Iterable[HookView]) -> Iterator[Finding]:
    """Yield the links that were left with programs of another terwayd."""
    newest: dict[str, HookView] = {}
    for hook in hooks:
        if hook.program not in newest or hook.number > newest[hook.program].number:
            newest[hook.program] = hook
    for hook in hooks:
        latest = newest[hook.program]
        if hook.tag and hook.tag != latest.tag:
            what = f"{hook.device} has an older program {hook.program} than {latest.device}"
            yield warning(what, "it was left by an earlier terwayd", RESTART_AGENT)


def _losses(ebpf: DataPathView) -> Iterator[Finding]:
    lost = Counter[str]()
    for one in ebpf.losses:
        lost[one.reason] += one.packets
    for reason, (why, remedy) in _TELLING.items():
        if lost[reason]:
            yield warning(_lost(lost[reason], reason), why, remedy)
    if lost[_PASSING]:
        why = "they were under way to or from pods that came or went meanwhile, which is ordinary"
        remedy = "nothing need be done; see whether it goes on: terway-cli monitor --drops"
        yield note(_lost(lost[_PASSING], _PASSING), why, remedy)


def _lost(packets: int, reason: str) -> str:
    return f"the data path has lost {counted(packets, 'packet')} ({reason})"


def _services(snapshot: Snapshot, ebpf: DataPathView) -> Iterator[Finding]:
    host = snapshot.host
    if host is None:
        return
    if ebpf.does_services and _KUBE_PROXY in host.programs:
        why = "pods are led by the data path alone; the node, and who is outside, by kube-proxy"
        remedy = "nothing need be done; without kube-proxy the data path leads them all"
        yield note("kube-proxy runs beside the data path's services", why, remedy)
    if ebpf.lacks_sockets:
        why = "they do not reach what they serve themselves, nor node ports at their own addresses"
        remedy = "see services.sockets_not_served in terwayd's log; mostly: mount /sys/fs/cgroup"
        yield warning("the node's processes reach services by its uplink only", why, remedy)
    if not ebpf.does_services and _lacks_kube_proxy(snapshot):
        remedy = "set kube_proxy_replacement of eni_conf to auto"
        yield error("nobody translates services", _NOBODY, remedy)


def _lacks_kube_proxy(snapshot: Snapshot) -> bool:
    """Return whether there are services, and no kube-proxy here that would lead to them."""
    host, kube = snapshot.host, snapshot.kubernetes
    return bool(host and kube and kube.services and _KUBE_PROXY not in host.programs)
