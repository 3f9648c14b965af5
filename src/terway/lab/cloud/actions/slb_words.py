"""How does CLB spell things? Switches, tags, and lists in JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from terway.lab.cloud.balancer_records import ClbListenerRecord
from terway.lab.cloud.records import Tags
from terway.lab.cloud.refusal import invalid, missing
from terway.lab.cloud.requests import Tag

T = TypeVar("T")
PROTECTIONS = ("NonProtection", "ConsoleProtection")


class _SlbTag(msgspec.Struct, rename="pascal"):
    tag_key: str
    tag_value: str = ""


def on_off(value: bool) -> str:
    """Return a switch as CLB spells it."""
    return "on" if value else "off"


def parse_on_off(parameter: str, text: str) -> bool:
    """Return a switch. Raises Refusal."""
    if text not in ("on", "off"):
        raise invalid(parameter, "it must be on or off")
    return text == "on"


def parse_json(parameter: str, text: str, kind: type[T]) -> T:
    """Return what a parameter carries as JSON, numbers in strings too. Raises Refusal."""
    try:
        return msgspec.convert(msgspec.json.decode(text), type=kind, strict=False)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise invalid(parameter, f"{error}") from error


def slb_tags(text: str) -> tuple[Tag, ...]:
    """Return the tags of a parameter Tags. Raises Refusal."""
    if not text:
        return ()
    found = parse_json("Tags", text, list[_SlbTag])
    return tuple(Tag(key=one.tag_key, value=one.tag_value) for one in found)


def tag_set(tags: Tags) -> dict[str, Any]:
    """Return tags as CLB answers them."""
    return {"Tag": [{"TagKey": key, "TagValue": value} for key, value in tags]}


def require(parameter: str, value: T | None) -> T:
    """Return a parameter's value. Raises Refusal when there is none."""
    if value is None:
        raise missing(parameter)
    return value


def check_range(parameter: str, value: int, low: int, high: int) -> int:
    """Return `value`. Raises Refusal when it is not in a range."""
    if not low <= value <= high:
        raise invalid(parameter, f"{value} is not in {low} to {high}")
    return value


def listener_ports(listeners: Iterable[ClbListenerRecord]) -> dict[str, Any]:
    """Return what an instance's description says of its listeners, in all spellings it has."""
    held = sorted(listeners, key=lambda one: one.serial)
    return {
        "ListenerPorts": {"ListenerPort": [one.port for one in held]},
        "ListenerPortsAndProtocal": {
            "ListenerPortAndProtocal": [
                {"ListenerPort": one.port, "ListenerProtocal": one.protocol} for one in held
            ]
        },
        "ListenerPortsAndProtocol": {
            "ListenerPortAndProtocol": [
                {
                    "ListenerPort": one.port,
                    "ListenerProtocol": one.protocol,
                    "Description": one.description,
                }
                for one in held
            ]
        },
    }


def protection_status(status: str) -> str:
    """Return a ModificationProtectionStatus. Raises Refusal."""
    if status not in PROTECTIONS:
        raise invalid("ModificationProtectionStatus", f"it must be one of {', '.join(PROTECTIONS)}")
    return status
