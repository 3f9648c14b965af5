"""Which records of the flow log does somebody want to see?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_network

from terway.model.address import IPNetwork
from terway.model.errors import UsageError
from terway.policy.records.recorded import RecordedEnd, RecordedFlow

_VERDICTS = {"allowed": True, "denied": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowFilter:
    """Conditions, all of which must be met; an empty one is none.

    `pod` and `namespace` are of either end. An end (`from_`, `to`) is NAMESPACE/POD, POD, a node,
    a workload's name, an address or a range, or "outside". `policy` is a name, with a namespace
    or without: of whichever decided.
    """

    pod: str = ""
    namespace: str = ""
    verdict: str = ""
    policy: str = ""
    from_: str = ""
    to: str = ""
    port: str = ""
    protocol: str = ""

    def __post_init__(self) -> None:
        if self.verdict and self.verdict not in _VERDICTS:
            text = f"verdict {self.verdict!r}: must be {' or '.join(_VERDICTS)}"
            raise UsageError(text, field="verdict")
        if self.port and not (self.port.isdigit() and int(self.port) < 65536):
            text = f"port {self.port!r}: must be a number from 1 to 65535"
            raise UsageError(text, field="port")

    @property
    def wants_allowed(self) -> bool:
        """Return whether allowed connections are wanted at all."""
        return self.verdict != "denied"

    def matches(self, flow: RecordedFlow) -> bool:
        """Return whether a record is wanted."""
        ends = (flow.source, flow.destination)
        return (
            (not self.verdict or _VERDICTS[self.verdict] is flow.is_allowed)
            and (not self.protocol or self.protocol.lower() == flow.protocol.lower())
            and (not self.port or int(self.port) == flow.port)
            and (not self.namespace or any(_is_in(one, self.namespace) for one in ends))
            and (not self.pod or any(_is_pod(one, self.pod) for one in ends))
            and (not self.from_ or _is_end(flow.source, self.from_))
            and (not self.to or _is_end(flow.destination, self.to))
            and (not self.policy or _is_decided_by(flow, self.policy))
        )

    def words(self) -> dict[str, str]:
        """Return the conditions by name: what `filter_of` reads."""
        named = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name.rstrip("_"): value for name, value in named.items() if value}


def filter_of(words: Mapping[str, str]) -> FlowFilter:
    """Return the filter of named conditions; names that are none are passed over.

    Raises UsageError when a condition cannot be.
    """
    known = {one.name.rstrip("_"): one.name for one in fields(FlowFilter)}
    return FlowFilter(**{known[name]: value for name, value in words.items() if name in known})


def _is_in(end: RecordedEnd, namespace: str) -> bool:
    return end.pod is not None and end.pod.namespace == namespace


def _is_pod(end: RecordedEnd, text: str) -> bool:
    namespace, _, name = text.rpartition("/")
    return (
        end.pod is not None
        and namespace in ("", end.pod.namespace)
        and name in (end.pod.name, end.workload.rpartition(" ")[2])
    )


def _is_end(end: RecordedEnd, text: str) -> bool:
    if text == "outside":
        return end.pod is None and end.node is None
    block = _block(text)
    if block is not None:
        return end.address.version == block.version and end.address in block
    return _is_pod(end, text) or (end.pod is None and end.node == text)


def _block(text: str) -> IPNetwork | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _is_decided_by(flow: RecordedFlow, text: str) -> bool:
    namespace, _, name = text.rpartition("/")
    keys = [side.policy for side in flow.sides if side.policy is not None]
    return any(one.name == name and namespace in ("", one.namespace) for one in keys)
