"""Loaded eBPF programs: what the kernel says of them, and what they make of a packet.

Source: bpf(2), BPF_PROG_TEST_RUN; include/uapi/linux/bpf.h, struct bpf_prog_info.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from dataclasses import dataclass

from terway.linux.bpf_call import bpf, info, translate
from terway.model.errors import UsageError, VpcError

_PROG_TEST_RUN = 10
# program, verdict, sizes and addresses of data, repeat, duration, sizes and addresses of context
_TEST_RUN = struct.Struct("=IIIIQQIIIIQQIIIxxxx")
_TEST_RUN_ROOM = 1024  # a program may make a packet longer than it was
_NAME = 64  # offsets in struct bpf_prog_info
_VERIFIED = 216


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramInfo:
    """What the kernel says of a loaded program."""

    id: int
    name: str
    tag: str  # of the instructions: equal programs have equal tags
    verified_instructions: int  # how many the verifier walked; 1 000 000 is its limit


def program_info(fd: int) -> ProgramInfo:
    """Return what the kernel says of the program behind a descriptor."""
    found = info(fd, 256)
    _type, number = struct.unpack_from("=II", found)
    (verified,) = struct.unpack_from("=I", found, _VERIFIED)
    name = found[_NAME : _NAME + 16].split(b"\0")[0].decode()
    return ProgramInfo(id=number, name=name, tag=found[8:16].hex(), verified_instructions=verified)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramRun:
    """What a program made of a packet."""

    verdict: int
    packet: bytes
    context: bytes
    duration_ns: int  # the mean of the repetitions


def run_program(fd: int, packet: bytes, *, context: bytes = b"", repeat: int = 1) -> ProgramRun:
    """Run a loaded program on a packet, outside of any link (BPF_PROG_TEST_RUN).

    `context` is a struct __sk_buff; the kernel takes mark, priority, ifindex, cb, tstamp and the
    GSO fields of it. Raises UsageError where the kernel refuses packet or context.
    """
    given = ctypes.create_string_buffer(packet, len(packet))
    result = ctypes.create_string_buffer(len(packet) + _TEST_RUN_ROOM)
    before = ctypes.create_string_buffer(context, max(len(context), 1))
    after = ctypes.create_string_buffer(max(len(context), 1))
    attr = _TEST_RUN.pack(
        fd,
        0,
        len(packet),
        len(result),
        ctypes.addressof(given),
        ctypes.addressof(result),
        repeat,
        0,
        len(context),
        len(context),
        ctypes.addressof(before) if context else 0,
        ctypes.addressof(after) if context else 0,
        0,
        0,
        0,
    )
    try:
        _, filled = bpf(_PROG_TEST_RUN, attr)
    except OSError as error:
        raise _test_run_error(error, len(packet)) from error
    answer = _TEST_RUN.unpack(filled)
    return ProgramRun(
        verdict=answer[1],
        packet=result.raw[: answer[3]],
        context=after.raw[: len(context)],
        duration_ns=answer[7],
    )


def _test_run_error(error: OSError, length: int) -> VpcError:
    what = f"test run with a packet of {length} bytes"
    if error.errno == errno.EINVAL:
        remedy = "whole Ethernet and IP headers are needed, and at most about a page"
        return UsageError(f"{what}: EINVAL; {remedy}", code="EINVAL")
    return translate(error, what)
