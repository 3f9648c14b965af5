"""Who is it, inside a pod? A program made for each endpoint says so to the one behind it.

It stands before the shared program at the same hook and writes the endpoint's number into the
packet's control block, and a mark beside it, over whatever is there:

    cb[0] = number        cb[1] = STAMP        go on to the next filter

Numbers of links are the pod's own there, and addresses are what it could forge; nobody in the pod
can write between two filters. Six instructions, so no object is needed. Blocking, but fast.
Source: bpf(2), BPF_PROG_LOAD; include/uapi/linux/bpf.h, struct bpf_insn, struct __sk_buff.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from terway.linux.bpf_call import bpf, translate
from terway.linux.ebpf.contract import STAMP
from terway.model.endpoint import EndpointNumber

PREFIX = "tw_"  # of the program's name: the number in hexadecimal digits follows

_PROG_LOAD = 5
_SCHED_CLS = 3
_INSTRUCTION = struct.Struct("=BBhi")  # opcode, registers (source << 4 | target), offset, constant
_MOV32, _STORE32, _MOV64, _EXIT = 0xB4, 0x63, 0xB7, 0x95
_CONTEXT, _VALUE, _RESULT = 1, 2, 0
_CB = 48  # offset of cb[0] in struct __sk_buff
_GO_ON = -1  # TC_ACT_UNSPEC
_LICENSE = ctypes.create_string_buffer(b"Dual BSD/GPL")


def instructions(number: EndpointNumber) -> bytes:
    """Return the program of an endpoint."""
    return b"".join(
        (
            _INSTRUCTION.pack(_MOV32, _VALUE, 0, number),
            _INSTRUCTION.pack(_STORE32, _VALUE << 4 | _CONTEXT, _CB, 0),
            _INSTRUCTION.pack(_MOV32, _VALUE, 0, STAMP),
            _INSTRUCTION.pack(_STORE32, _VALUE << 4 | _CONTEXT, _CB + 4, 0),
            _INSTRUCTION.pack(_MOV64, _RESULT, 0, _GO_ON),
            _INSTRUCTION.pack(_EXIT, 0, 0, 0),
        )
    )


def stamp_name(number: EndpointNumber) -> str:
    """Return the name of an endpoint's program, by which its filter is read back."""
    return f"{PREFIX}{number:x}"


@contextmanager
def open_stamp(number: EndpointNumber) -> Iterator[int]:
    """Load the program of an endpoint; its descriptor is open for the block."""
    code = ctypes.create_string_buffer(instructions(number))
    count = (len(code) - 1) // _INSTRUCTION.size
    name = stamp_name(number).encode()
    attr = struct.pack(
        "=IIQQIIQII16s",
        _SCHED_CLS,
        count,
        ctypes.addressof(code),
        ctypes.addressof(_LICENSE),
        0,  # log level, size and buffer: six instructions need no explanation
        0,
        0,
        0,  # kernel version, flags
        0,
        name,
    )
    try:
        fd = bpf(_PROG_LOAD, attr)[0]
    except OSError as error:
        raise translate(error, f"load the program of endpoint {number}") from error
    try:
        yield fd
    finally:
        os.close(fd)
