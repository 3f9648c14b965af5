"""What becomes of the VPC when the wires of some ENIs are bad? A state with their faults in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from terway.lab.vpc.state import Port, VpcState
from terway.model.errors import UsageError
from terway.model.ids import ENIId

_LEAST_MTU_BYTES = 68  # RFC 791: every link carries that much


@dataclass(frozen=True, slots=True, kw_only=True)
class Impairment:
    """A fault of an ENI's wire, in both directions.

    `loss` is the part of all packets that is lost, 0 to 1. Packets larger than `mtu_bytes` are
    refused as too big; 0 leaves the port its own. The instance's link keeps its MTU: it does not
    know. Raises UsageError for what cannot be.
    """

    loss: float = 0.0
    mtu_bytes: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.loss <= 1.0:
            raise UsageError(f"loss is {self.loss}: it must be from 0 to 1", field="loss")
        if self.mtu_bytes and self.mtu_bytes < _LEAST_MTU_BYTES:
            text = f"mtu_bytes is {self.mtu_bytes}: it must be 0, or {_LEAST_MTU_BYTES} and more"
            raise UsageError(text, field="mtu_bytes")


def impaired(state: VpcState, faults: Mapping[ENIId, Impairment]) -> VpcState:
    """Return `state` with the faults of its ports; those of others wait for their ports."""
    if not faults:
        return state
    return replace(state, ports=tuple(_bad(one, faults.get(one.eni_id)) for one in state.ports))


def _bad(port: Port, fault: Impairment | None) -> Port:
    if fault is None:
        return port
    mtu_bytes = min(port.mtu_bytes, fault.mtu_bytes or port.mtu_bytes)
    return replace(port, loss=fault.loss, mtu_bytes=mtu_bytes)
