"""What of a pod decides about its network?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from terway.podeni.settings import Settings

IGNORED = "k8s.aliyun.com/ignore-by-terway"  # a label
GATE = "k8s.aliyun.com/pod-eni"  # a scheduling gate: kept back until its ENI exists


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """A pod, as it is about to be made. `owner_kinds` is empty for one that nobody owns.

    `asks_whole`: a container of it asks for the resource aliyun/eni.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    owner_kinds: tuple[str, ...] = ()
    is_host_network: bool = False
    has_containers: bool = True
    asks_whole: bool = False

    @property
    def is_none_of_ours(self) -> bool:
        """Return whether nothing is to be done for it."""
        is_ignored = self.labels.get(IGNORED, "").lower() == "true"
        return self.is_host_network or is_ignored or not self.has_containers

    @property
    def is_of_daemon_set(self) -> bool:
        """Return whether its node is chosen already."""
        return "DaemonSet" in self.owner_kinds

    def has_fixed_name(self, settings: Settings) -> bool:
        """Return whether its successor will have its name: then an address can wait for it."""
        return not self.owner_kinds or not settings.fixed_kinds.isdisjoint(self.owner_kinds)
