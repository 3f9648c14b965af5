"""What kubelet and device plugins tell each other, as bytes: protobuf of the few messages.

Source: k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1/api.proto; protobuf.dev, "Encoding". Fields
that are not named here are skipped, as every reader of protobuf does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, Self

from grpclib.encoding.base import CodecBase

VERSION = "v1beta1"
REGISTER = "/v1beta1.Registration/Register"
_PLUGIN = "/v1beta1.DevicePlugin"
OPTIONS = f"{_PLUGIN}/GetDevicePluginOptions"
LIST_AND_WATCH = f"{_PLUGIN}/ListAndWatch"
PREFERRED = f"{_PLUGIN}/GetPreferredAllocation"
ALLOCATE = f"{_PLUGIN}/Allocate"
PRE_START = f"{_PLUGIN}/PreStartContainer"

HEALTHY = "Healthy"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Message(Protocol):
    """What has a form on the wire."""

    def encode(self) -> bytes:
        """Return the message as protobuf."""

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return what protobuf says. Raises ValueError for what is cut off."""


@dataclass(frozen=True, slots=True)
class Empty:
    """A message of which nothing is of interest: `Empty`, and options with nothing in them."""

    def encode(self) -> bytes:
        """Return no bytes: all fields have their defaults."""
        return b""

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the message, whatever it says."""
        return cls()


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterRequest:
    """A plugin's own words: `endpoint` is the name of its socket, beside the kubelet's."""

    endpoint: str
    resource: str
    version: str = VERSION

    def encode(self) -> bytes:
        """Return the message as protobuf."""
        return b"".join(
            _field(number, text.encode())
            for number, text in ((1, self.version), (2, self.endpoint), (3, self.resource))
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return what protobuf says."""
        found = {number: value.decode() for number, value in _fields(data) if number <= 3}
        return cls(version=found.get(1, ""), endpoint=found.get(2, ""), resource=found.get(3, ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """All devices of a plugin, by their ids; all are healthy."""

    ids: tuple[str, ...]

    def encode(self) -> bytes:
        """Return a ListAndWatchResponse."""
        health = _field(2, HEALTHY.encode())
        return b"".join(_field(1, _field(1, one.encode()) + health) for one in self.ids)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the ids of the devices."""
        devices = (dict(_fields(value)) for number, value in _fields(data) if number == 1)
        return cls(ids=tuple(one.get(1, b"").decode() for one in devices))


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocateRequest:
    """For each container, the devices that it is to have."""

    containers: tuple[tuple[str, ...], ...]

    def encode(self) -> bytes:
        """Return the message as protobuf."""
        return b"".join(
            _field(1, b"".join(_field(1, one.encode()) for one in ids)) for ids in self.containers
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return what protobuf says."""
        asked = (value for number, value in _fields(data) if number == 1)
        return cls(containers=tuple(tuple(_texts(one)) for one in asked))


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocateResponse:
    """That so many containers may start, without anything of the plugin's in them."""

    containers: int

    def encode(self) -> bytes:
        """Return the message as protobuf."""
        return _field(1, b"") * self.containers

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return for how many containers it is."""
        return cls(containers=sum(number == 1 for number, _ in _fields(data)))


def _texts(data: bytes) -> Iterator[str]:
    return (value.decode() for number, value in _fields(data) if number == 1)


def _field(number: int, value: bytes) -> bytes:
    return bytes(_varint(number << 3 | _BYTES)) + bytes(_varint(len(value))) + value


def _varint(value: int) -> Iterator[int]:
    while value > 0x7F:
        yield value & 0x7F | 0x80
        value >>= 7
    yield value


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of the fields with a length; numbers and fixed ones are skipped."""
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        kind = tag & 7
        if kind == _BYTES:
            length, at = _read_varint(data, at)
            if at + length > len(data):
                raise ValueError("a field is cut off")
            yield tag >> 3, data[at : at + length]
            at += length
        elif kind == _VARINT:
            _, at = _read_varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind} is none of protobuf's")


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("a number is cut off")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


class Codec(CodecBase):
    """Says to grpclib how messages are written; the library's own codec wants generated code."""

    __content_subtype__ = "proto"

    def encode(self, message: Message, message_type: type[Message]) -> bytes:
        """Return a message as bytes."""
        return message.encode()

    def decode(self, data: bytes, message_type: type[Message]) -> Message:
        """Return the message that bytes say."""
        return message_type.decode(data)


def device_ids(resource: str, count: int) -> Iterable[str]:
    """Return ids of so many devices, the same whenever asked."""
    word = resource.rpartition("/")[2]
    return (f"{word}-{number}" for number in range(count))
