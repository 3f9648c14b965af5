"""Why did a packet of the data path go no further? `enum loss` of bpf/contract.h, and its words."""

from __future__ import annotations

from enum import IntEnum


class Loss(IntEnum):
    """The reasons, by the numbers that the programs count them under."""

    NONE = 0
    MALFORMED = 1
    SOURCE = 2
    VLAN = 3
    POLICY_EGRESS = 4
    POLICY_INGRESS = 5
    UNKNOWN_FLOW = 6
    NO_BACKEND = 7
    BACKEND_GONE = 8
    SOURCE_RANGE = 9
    NO_PORT = 10
    FRAGMENT = 11
    TTL = 12
    TOO_BIG = 13
    METADATA = 14
    UNKNOWN_POD = 15
    TABLE_FULL = 16
    KERNEL = 17

    @property
    def word(self) -> str:
        """Return the reason as metrics and tools spell it: lower case, with hyphens."""
        return self.name.lower().replace("_", "-")

    @property
    def meaning(self) -> str:
        """Return what a person is told."""
        return _MEANINGS[self]


_MEANINGS = {
    Loss.NONE: "let through",
    Loss.MALFORMED: "headers are cut off or contradict each other",
    Loss.SOURCE: "the source address or MAC is not the pod's",
    Loss.VLAN: "a VLAN tag where there is no trunk",
    Loss.POLICY_EGRESS: "the sender's policies do not allow it",
    Loss.POLICY_INGRESS: "the receiver's policies do not allow it",
    Loss.UNKNOWN_FLOW: "it belongs to no connection, at a pod that policies restrict",
    Loss.NO_BACKEND: "the service has no endpoint that may answer",
    Loss.BACKEND_GONE: "the connection's endpoint went",
    Loss.SOURCE_RANGE: "the client is not within the service's loadBalancerSourceRanges",
    Loss.NO_PORT: "no port is left to translate the source to",
    Loss.FRAGMENT: "a later fragment whose first one was not seen",
    Loss.TTL: "it has travelled too far",
    Loss.TOO_BIG: "it is larger than the MTU, and may not be cut",
    Loss.METADATA: "the pod may not reach the metadata service",
    Loss.UNKNOWN_POD: "the link is the data path's, and nobody said whose",
    Loss.TABLE_FULL: "a map had no room for what must be remembered",
    Loss.KERNEL: "a helper of the kernel refused to change the packet",
}
