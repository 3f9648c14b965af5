"""Which ports share a link? Members and their trunks: can they be, and whose is a tag. Pure."""

from __future__ import annotations

from terway.lab.vpc.state import Port, VpcState
from terway.model.errors import UsageError

_VLAN_IDS = range(1, 4095)  # IEEE 802.1Q: 0 is no VLAN, 4095 reserved


def check_members(state: VpcState) -> None:
    """Raise UsageError, naming field and value, for the first member that cannot be."""
    ports = {port.eni_id: port for port in state.ports}
    seen: dict[tuple[str, int], str] = {}
    for port in state.ports:
        if port.trunk_id is None:
            if port.vlan_id:
                raise _refusal("vlan_id", f"{port.eni_id}: VLAN id {port.vlan_id}, but no trunk")
            continue
        _check_member(port, ports.get(port.trunk_id))
        other = seen.setdefault((port.trunk_id, port.vlan_id), port.eni_id)
        if other != port.eni_id:
            text = f"{port.eni_id} and {other} have VLAN id {port.vlan_id} on {port.trunk_id}"
            raise _refusal("vlan_id", text)


def _check_member(port: Port, trunk: Port | None) -> None:
    if trunk is None or trunk.trunk_id is not None:
        raise _refusal("trunk_id", f"{port.eni_id}: {port.trunk_id} has no link of its own")
    if (trunk.instance_id, trunk.vpc_id) != (port.instance_id, port.vpc_id):
        text = f"{port.eni_id}: {trunk.eni_id} is of another instance or VPC"
        raise _refusal("trunk_id", text)
    if port.vlan_id not in _VLAN_IDS:
        raise _refusal("vlan_id", f"{port.eni_id}: VLAN id {port.vlan_id}; 1 to 4094 is possible")


def member_of(state: VpcState, trunk: Port, vlan_id: int) -> Port | None:
    """Return the member of `trunk` that a tag stands for."""
    members = (port for port in state.ports if port.trunk_id == trunk.eni_id)
    return next((port for port in members if port.vlan_id == vlan_id), None)


def _refusal(field: str, text: str) -> UsageError:
    return UsageError(f"VPC state refused: {text}", field=field)
