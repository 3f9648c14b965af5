"""The network configuration on the plugin's stdin, parsed and checked.

Keys that are not ours are passed over: a runtime, or a newer minor version, may add some.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from terway.cni.errors import CniError, Code
from terway.cni.result import Result, parse_result
from terway.cni.version import LATEST
from terway.model.attachment import AttachmentKey
from terway.model.ids import ContainerId
from terway.model.interface import UNLIMITED, Bandwidth

# SPEC.md, "Network configuration": a name is also a file name on somebody's disk.
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_SEMVER = re.compile(r"\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?")
_LEAST_BITS_S = 1000
_BEFORE_VERSIONS = "0.1.0"  # what a configuration without cniVersion means


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConf:
    """A network configuration. `valid_attachments` is None where the key is absent."""

    version: str
    name: str
    mtu_bytes: int | None
    prev_result: Result | None
    args: dict[str, str]
    valid_attachments: frozenset[AttachmentKey] | None
    bandwidth: Bandwidth = UNLIMITED  # what the runtime asks for by the capability


class _Args(msgspec.Struct, frozen=True):
    cni: dict[str, object] = msgspec.field(default_factory=dict)


class _Ipam(msgspec.Struct, frozen=True):
    type: str = ""


class _Attachment(msgspec.Struct, frozen=True, gc=False):
    container_id: str = msgspec.field(name="containerID")
    ifname: str = ""


class _Rates(msgspec.Struct, frozen=True, rename="camel"):
    # Bits per second; 0 is no limit (CONVENTIONS.md, "bandwidth"). How much may come at once is
    # decided by what keeps the rate: runtimes send the largest number there is.
    ingress_rate: int = 0
    ingress_burst: int = 0
    egress_rate: int = 0
    egress_burst: int = 0


class _RuntimeConfig(msgspec.Struct, frozen=True):
    bandwidth: _Rates | None = None


class _Conf(msgspec.Struct, frozen=True):
    name: str = ""
    type: str = ""
    version: str = msgspec.field(name="cniVersion", default=_BEFORE_VERSIONS)
    mtu: int | None = None
    prev_result: msgspec.Raw = msgspec.field(name="prevResult", default=msgspec.Raw(b"null"))
    args: _Args | None = None
    ipam: _Ipam | None = None
    runtime: _RuntimeConfig | None = msgspec.field(name="runtimeConfig", default=None)
    valid: tuple[_Attachment, ...] | msgspec.UnsetType | None = msgspec.field(
        name="cni.dev/valid-attachments", default=msgspec.UNSET
    )


class _VersionOnly(msgspec.Struct, frozen=True):
    version: str = msgspec.field(name="cniVersion", default=LATEST)


_DECODER = msgspec.json.Decoder(_Conf)
_VERSION_DECODER = msgspec.json.Decoder(_VersionOnly)


def parse_conf(stdin: bytes) -> NetworkConf:
    """Return the configuration in `stdin`. Raises CniError: 6 if unreadable, 7 if wrong."""
    try:
        wire = _DECODER.decode(stdin)
    except msgspec.ValidationError as error:
        raise CniError(Code.INVALID_CONFIG, f"network configuration: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CniError(Code.CANNOT_DECODE, f"network configuration: {error}") from error
    _check(wire)
    return NetworkConf(
        version=wire.version,
        name=wire.name,
        mtu_bytes=wire.mtu,
        prev_result=_prev_result(wire),
        args=_strings(wire.args),
        valid_attachments=_attachments(wire),
        bandwidth=_bandwidth(wire.runtime),
    )


def version_asked(stdin: bytes) -> str:
    """Return the `cniVersion` in `stdin`, or the newest where there is none to read."""
    try:
        version = _VERSION_DECODER.decode(stdin).version
    except (msgspec.DecodeError, UnicodeDecodeError):
        return LATEST
    return version if _SEMVER.fullmatch(version) else LATEST


def _check(wire: _Conf) -> None:
    if not _SEMVER.fullmatch(wire.version):
        message = f"cniVersion {wire.version!r} is no version: write it as 1.1.0"
        raise CniError(Code.CANNOT_DECODE, message, field="cniVersion")
    if not wire.name:
        raise CniError(Code.INVALID_CONFIG, "the network has no name", field="name")
    if not _NAME.fullmatch(wire.name):
        rule = "must start with a letter or digit and go on with those, '_', '.' or '-'"
        raise CniError(Code.INVALID_CONFIG, f"name {wire.name!r} {rule}", field="name")
    for field, value in (("type", wire.type), ("ipam.type", wire.ipam.type if wire.ipam else "")):
        if "/" in value:
            message = f"{field} {value!r} is a path: name the plugin alone"
            raise CniError(Code.INVALID_CONFIG, message, field=field)
    if wire.mtu is not None and not 576 <= wire.mtu <= 65535:
        message = f"mtu {wire.mtu} is not between 576 and 65535"
        raise CniError(Code.INVALID_CONFIG, message, field="mtu")


def _prev_result(wire: _Conf) -> Result | None:
    # `"prevResult": null` is how some runtimes say that there is none.
    if bytes(wire.prev_result) == b"null":
        return None
    return parse_result(wire.prev_result)


def _bandwidth(runtime: _RuntimeConfig | None) -> Bandwidth:
    if runtime is None or runtime.bandwidth is None:
        return UNLIMITED
    asked = runtime.bandwidth
    return Bandwidth(
        ingress=_bytes_s("ingressRate", asked.ingress_rate),
        egress=_bytes_s("egressRate", asked.egress_rate),
    )


def _bytes_s(key: str, bits_s: int) -> int | None:
    if bits_s == 0:
        return None
    if bits_s < _LEAST_BITS_S:
        field = f"runtimeConfig.bandwidth.{key}"
        text = f"{field} is {bits_s}: must be at least {_LEAST_BITS_S} bits per second, or 0"
        raise CniError(Code.INVALID_CONFIG, text, field=field)
    return bits_s // 8


def _strings(args: _Args | None) -> dict[str, str]:
    if args is None:
        return {}
    return {name: value for name, value in args.cni.items() if isinstance(value, str)}


def _attachments(wire: _Conf) -> frozenset[AttachmentKey] | None:
    if wire.valid is msgspec.UNSET:
        return None
    # A Go runtime writes an empty list as null.
    return frozenset(
        AttachmentKey(container_id=ContainerId(one.container_id), ifname=one.ifname)
        for one in wire.valid or ()
    )
