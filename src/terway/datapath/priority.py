"""Whose packets leave a crowded ENI first: three queues on the ENI, a class for each pod's address.

A pod that asks for nothing is burstable. What the node itself sends keeps the queue it has by its
type of service. Source: upstream Terway, docs/qos.md (`enable_network_priority`).
"""

from __future__ import annotations

from collections.abc import Iterator

from terway.datapath.facts import ENILink, NodeFacts
from terway.model.attachment import Attachment
from terway.model.interface import NetworkPriority
from terway.model.traffic import PriorityBands, PriorityClass


def bands_of(eni: ENILink, node: NodeFacts) -> Iterator[PriorityBands]:
    """Yield the queues of an ENI, where the node has priorities."""
    if node.has_priorities:
        yield PriorityBands(link=eni.name)


def classes_of(attachment: Attachment, eni: ENILink, node: NodeFacts) -> Iterator[PriorityClass]:
    """Yield the classes of a pod's addresses on `eni`, where the node has priorities."""
    if not node.has_priorities or not eni.name:  # an ENI that is gone has no queues
        return
    priority = attachment.spec.priority or NetworkPriority.BURSTABLE
    for address in attachment.lease.addresses:
        yield PriorityClass(link=eni.name, source=address, priority=priority)
