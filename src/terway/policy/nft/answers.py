"""May this connection be made, by the rules of nftables that the nodes of its ends would have?

Each node's policies are compiled and printed, and the first packet and its answer are run through
the rules of the source's node and of the destination's: what would be enforced is what is said.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache

from terway.model.address import family_of
from terway.model.ids import NodeName
from terway.model.nft import Hook, Table, Transactions
from terway.policy.answering import Ends, Nodes
from terway.policy.cluster import Cluster, Pod
from terway.policy.ends import Party
from terway.policy.flow import Flow
from terway.policy.nft.interpreter import Interpreter
from terway.policy.nft.names import TABLE
from terway.policy.nft.packet import Packet, icmp_of
from terway.policy.nft.paper import PaperKernel
from terway.policy.nft.printer import Printer
from terway.policy.nft.skeleton import Place
from terway.policy.nft.words import PROTOCOL_NUMBERS
from terway.policy.policies import Policy

_UPLINK = "eth0"


def on_paper(transactions: Transactions) -> Table:
    """Return the table that transactions make out of nothing."""
    kernel = PaperKernel()
    kernel.change(transactions)
    return kernel.read(TABLE) or Table(name=TABLE)


class NftAnswers:
    """A cluster and its policies as rules; `enforce` makes transactions a table."""

    def __init__(
        self,
        cluster: Cluster,
        policies: Collection[Policy],
        enforce: Callable[[Transactions], Table] = on_paper,
    ) -> None:
        self._ends = Ends(cluster)
        self._nodes = Nodes(cluster, policies)
        self._enforce = enforce
        self._interfaces = {key: f"pod{place}" for place, key in enumerate(sorted(cluster.pods))}
        self._node = cache(self._print_node)

    def allowed(self, flow: Flow) -> bool:
        """Return whether the connection may be made.

        Raises UsageError for an end that is not there, or has no address of the family.
        """
        source, destination = self._ends.of(flow)
        if source.pod is not None and source.pod is destination.pod and not flow.via_service:
            return True  # it never leaves the pod
        return all(
            self._passes(pod, source, destination, flow) for pod in _judges(source, destination)
        )

    def _passes(self, pod: Pod, source: Party, destination: Party, flow: Flow) -> bool:
        """Return whether the node of `pod`, one of the ends, lets it through, and its answer."""
        protocol = PROTOCOL_NUMBERS.get(flow.protocol)
        asked = Packet(
            hook=_hook(pod, source, destination),
            source=source.address,
            destination=destination.address,
            protocol=icmp_of(family_of(source.address)) if protocol is None else protocol,
            destination_port=flow.port,
            iif=self._interface(source, pod),
            oif=self._interface(destination, pod),
        )
        rules = self._node(pod.node)
        return rules.accepts(asked) and rules.accepts(asked.answer())

    def _interface(self, party: Party, pod: Pod) -> str:
        """Return the interface by which an end is reached at the node of `pod`."""
        own = party.pod
        if own is not None and (own is pod or (pod.node is not None and own.node == pod.node)):
            return self._interfaces[own.key]
        return _UPLINK

    def _print_node(self, node: NodeName | None) -> Interpreter:
        """Return the rules of a node."""
        hooks = {key: self._interfaces[key] for key in self._nodes.pods(node)}
        printed = Printer(Place.NODE).adopt(self._nodes.compiled(node), hooks, None)
        return Interpreter(self._enforce(printed))


def _judges(source: Party, destination: Party) -> list[Pod]:
    """Return a pod of each node that forwards the packet, or is itself an end."""
    pods = [party.pod for party in (source, destination) if party.pod is not None]
    if len(pods) > 1 and (pods[0] is pods[1] or pods[0].node == pods[1].node is not None):
        return pods[:1]
    return pods


def _hook(pod: Pod, source: Party, destination: Party) -> Hook:
    if pod.node is not None and pod.node in destination.nodes:
        return Hook.INPUT
    if pod.node is not None and pod.node in source.nodes:
        return Hook.OUTPUT
    return Hook.FORWARD
