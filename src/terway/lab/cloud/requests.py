"""What did the caller ask for? The flat query becomes the action's typed request, or is refused.

Each action declares a struct with the parameters it emulates. Anything else is refused by name:
an emulated cloud that ignores what it does not know would teach its users wrong things.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any, TypeVar

import msgspec

from terway.lab.cloud.refusal import Refusal, invalid, missing, unsupported

ADDRESS_TYPES = (IPv4Address, IPv4Network, IPv6Address, IPv6Network)

R = TypeVar("R", bound="Request")


class Request(msgspec.Struct, rename="pascal", kw_only=True, forbid_unknown_fields=True):
    """The parameters of an action. RegionId is the endpoint's own region, where it is given."""

    region_id: str = ""


class Regional(Request):
    """The parameters of an action that cannot do without RegionId."""

    region_id: str


class Tag(msgspec.Struct, frozen=True, rename="pascal", forbid_unknown_fields=True):
    """A tag in a request."""

    key: str
    value: str = ""


def unflatten(parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return ``Tag.1.Key=a&Tag.1.Value=b`` as ``{"Tag": [{"Key": "a", "Value": "b"}]}``."""
    tree: dict[str, Any] = {}
    for name, value in parameters.items():
        *path, last = name.split(".")
        branch = tree
        for step in path:
            branch = branch.setdefault(step, {})
            if not isinstance(branch, dict):
                raise invalid(name, "it is given both as a value and as a list")
        branch[last] = value
    return {name: _lists(value) for name, value in tree.items()}


def _lists(value: Any) -> Any:
    """Turn dicts whose keys are numbers into lists, in the order of the numbers."""
    if not isinstance(value, dict):
        return value
    if all(key.isdigit() for key in value):
        return [_lists(value[key]) for key in sorted(value, key=int)]
    return {key: _lists(inner) for key, inner in value.items()}


def parse_request(action: str, parameters: Mapping[str, str], kind: type[R]) -> R:
    """Return the request. Raises Refusal: missing, unknown or malformed parameters."""
    try:
        return msgspec.convert(
            unflatten(parameters), type=kind, strict=False, dec_hook=_parse_address
        )
    except msgspec.ValidationError as error:
        raise _refusal(action, str(error)) from error


def json_list(parameter: str, text: str) -> list[str]:
    """Return a list that a parameter carries as JSON: ``["i-1", "i-2"]``. Raises Refusal."""
    try:
        return msgspec.json.decode(text, type=list[str])
    except msgspec.DecodeError as error:
        raise invalid(parameter, "it must be a JSON list of strings") from error


def parse_network(parameter: str, text: str) -> IPv4Network | IPv6Network:
    """Return a CIDR of either family. Raises Refusal."""
    try:
        return ip_network(text)
    except ValueError as error:
        raise Refusal("InvalidCidrBlock.Malformed", f"{parameter}: {error}.") from error


def _parse_address(kind: type[Any], value: Any) -> Any:
    if kind not in ADDRESS_TYPES:
        raise NotImplementedError(kind)
    return kind(value)  # its ValueError becomes msgspec's ValidationError


def _refusal(action: str, said: str) -> Refusal:
    """Translate msgspec's words. Tests hold them, so that an upgrade cannot change them unseen."""
    path = re.sub(r"\[(\.\.\.|\d+)\]", ".N", _quoted(r"at `\$\.?([^`]*)`", said))
    name = ".".join(filter(None, (path, _quoted(r"field `([^`]+)`", said))))
    if "unknown field" in said:
        return unsupported(action, name)
    if "missing required field" in said:
        return missing(name)
    return invalid(name, said)


def _quoted(pattern: str, said: str) -> str:
    found = re.search(pattern, said)
    return found.group(1) if found else ""
