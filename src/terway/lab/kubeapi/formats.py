"""Is this text what its `format` says? The formats that a CRD's schema checks.

An unknown format says nothing, as in the real server. Source: k8s.io/apiextensions-apiserver
pkg/apiserver/validation/formats.go; k8s.io/kube-openapi pkg/validation/strfmt.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from datetime import date
from ipaddress import IPv4Address, IPv6Address, ip_interface
from urllib.parse import urlsplit

from terway.kube.clock import parse_time

_MAC = re.compile(r"^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$|^([0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4}$")
_UUID = re.compile(r"^(?i:[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12})$")
_DURATION = re.compile(r"^-?(\d+(\.\d+)?(ns|us|µs|ms|s|m|h|d|w))+$")
_HOST = re.compile(
    r"^(?=.{1,253}$)[A-Za-z0-9]([-A-Za-z0-9]{0,62})(\.[A-Za-z0-9][-A-Za-z0-9]{0,62})*$"
)
_EMAIL = re.compile(r"^[^@\s]+@[^@\s]+$")


def _reads(read: Callable[[str], object]) -> Callable[[str], bool]:
    def test(text: str) -> bool:
        try:
            read(text)
        except (ValueError, OverflowError, binascii.Error):
            return False
        return True

    return test


def _cidr(text: str) -> object:
    if "/" not in text:
        raise ValueError(text)
    return ip_interface(text)


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.match(text) is not None


_FORMATS: dict[str, Callable[[str], bool]] = {
    "ipv4": _reads(IPv4Address),
    "ipv6": _reads(IPv6Address),
    "cidr": _reads(_cidr),
    "mac": _matches(_MAC),
    "uuid": _matches(_UUID),
    "duration": _matches(_DURATION),
    "hostname": _matches(_HOST),
    "email": _matches(_EMAIL),
    "date": _reads(date.fromisoformat),
    "date-time": _reads(parse_time),
    "byte": _reads(lambda text: base64.b64decode(text, validate=True)),
    "uri": lambda text: bool(urlsplit(text).scheme),
}


def fits_format(text: str, name: str) -> bool:
    """Say whether `text` is what the format says."""
    test = _FORMATS.get(name)
    return test is None or test(text)
