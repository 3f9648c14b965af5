"""How are the ends and ports of policies told to people?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from terway.model.address import Family, family_of
from terway.model.selector import Labels
from terway.policy.asking.difference import Packet
from terway.policy.asking.matrix_groups import Group
from terway.policy.asking.representatives import Holder
from terway.policy.asking.representatives_space import is_everything, span_texts
from terway.policy.cluster import Pod, PodKey, Protocol
from terway.policy.ports import EVERY_PORT, LAST_PORT, PortSet
from terway.policy.reading.parse_objects import NAME_LABEL

_SHOWN = 3  # of a list


def ports_text(ports: PortSet) -> str:
    """Return ports in words: `TCP 80, 8000-8100; UDP every port; ICMP and others`."""
    if ports == EVERY_PORT:
        return "every port of every protocol"
    parts = [_protocol_text(one, ports) for one in Protocol if ports.of(one)]
    return "; ".join(parts) or "nothing"


def _protocol_text(protocol: Protocol, ports: PortSet) -> str:
    if protocol is Protocol.OTHER:
        return "ICMP and others without ports"
    intervals = ports.of(protocol)
    if intervals == ((0, LAST_PORT),):
        return f"{protocol.value} every port"
    texts = (str(first) if first == last else f"{first}-{last}" for first, last in intervals)
    return f"{protocol.value} {', '.join(texts)}"


def groups_text(groups: Sequence[Group], *, is_any: bool = False) -> str:
    """Return who is in groups: the first few by name, and how many more there are."""
    if is_any:
        return shortened([kind_text(one) for group in groups for one in group.holders])
    holders = [one for group in groups for one in group.holders]
    pods = [_pod_text(*found) for found in _families(holders).values()]
    nodes = [f"node {one.nodes[0].name} ({one.address})" for one in holders if one.nodes]
    outside = [f"outside {text}" for one in holders if one.is_outside for text in _spans(one)]
    return shortened([*pods, *nodes, *outside])


def _families(holders: Iterable[Holder]) -> dict[PodKey, tuple[Pod, set[Family]]]:
    """Return the pods among holders, and the families of which each is meant."""
    found: dict[PodKey, tuple[Pod, set[Family]]] = {}
    for one in holders:
        if one.pod is not None:
            found.setdefault(one.pod.key, (one.pod, set()))[1].add(one.family)
    return found


def _pod_text(pod: Pod, families: set[Family]) -> str:
    """Return a pod's name, and the family where not all of its addresses are meant."""
    if families == {family_of(address) for address in pod.addresses}:
        return str(pod.key)
    (only,) = families
    return f"{pod.key} (IPv{only.value})"


def shortened(texts: Iterable[str], *, shown: int = _SHOWN) -> str:
    """Return a list of texts, the first few of them, each once."""
    every = list(dict.fromkeys(texts))
    if len(every) <= shown + 1:
        return ", ".join(every)
    return f"{', '.join(every[:shown])} and {len(every) - shown} more"


def kind_text(holder: Holder) -> str:
    """Return whom a representative stands for."""
    pod = holder.pod
    if pod is None:
        kind = f"a node with {labels_text(holder.nodes[0].labels)}" if holder.nodes else "outside"
        return kind + _place_text(holder)
    space = {key: value for key, value in holder.namespace.items() if key != NAME_LABEL}
    where = f"namespace {pod.key.namespace}" + (f" ({labels_text(space)})" if space else "")
    return f"a pod of {where} with {labels_text(pod.labels)}{_place_text(holder)}"


def labels_text(labels: Labels) -> str:
    """Return labels as kubectl writes them."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "no labels"


def _spans(holder: Holder) -> tuple[str, ...]:
    return span_texts(holder.spans)


def _place_text(holder: Holder) -> str:
    if is_everything(holder.spans):
        return ""
    return f" at {shortened(_spans(holder), shown=2)}"


def end_text(holder: Holder) -> str:
    """Return one end of a packet."""
    if holder.pod is not None:
        return f"{holder.pod.key} ({holder.address})"
    name = f"node {holder.nodes[0].name}" if holder.nodes else "outside"
    return f"{name} ({holder.address})"


def packet_text(packet: Packet) -> str:
    """Return a packet in words."""
    port = f"{packet.protocol.value} {packet.port}" if packet.port else "ICMP"
    via = " through a service" if packet.via_service else ""
    return f"{end_text(packet.source)} to {end_text(packet.destination)}, {port}{via}"


def side_text(name: str, holder: Holder) -> list[str]:
    """Return what is to be known of an end that is made up: its labels and names of ports."""
    pod = holder.pod
    if pod is None:
        return []
    ports = (f"{one.name}={one.port}/{one.protocol.value}" for one in pod.ports)
    named = shortened(ports)
    more = f", its ports {named}" if named else ""
    return [f"{name}: {kind_text(holder)}{more}"]
