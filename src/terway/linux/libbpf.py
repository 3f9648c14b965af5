"""libbpf by ctypes: open an eBPF object, set its constants, load it into the kernel.

Only what needs libbpf is here: ELF, relocation and the verifier's words. Everything after loading
is `linux/bpf.py`. A description (`ObjectSpec`, read from the file) is a plain value; the loaded
object (`LoadedObject`, file descriptors) is another type, made from it by `load_object` alone.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType

from terway.model.errors import BugError, TransientError, UsageError, VpcError

_RODATA = ".rodata"  # libbpf's map of the constants, "<prefix of the object>.rodata"
_MESSAGE_BYTES = 1 << 20
_KEPT_CHARACTERS = 4000  # the verifier's last lines hold the reason
_PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_DEBUG_LEVEL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSpec:
    """One map of an object: what BPF_MAP_CREATE will be asked for."""

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramSpec:
    """One program of an object."""

    name: str
    section: str
    type: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSpec:
    """What an object file holds. Reading it touches no kernel."""

    path: Path
    programs: tuple[ProgramSpec, ...]
    maps: tuple[MapSpec, ...]
    constants: bytes = b""  # initial .rodata


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedObject:
    """File descriptors of loaded programs and maps, by name; owned by whoever holds this."""

    programs: Mapping[str, int]
    maps: Mapping[str, int]
    _handle: int = field(repr=False)

    def close(self) -> None:
        """Close the descriptors. What is attached or pinned stays in the kernel."""
        _lib().bpf_object__close(self._handle)


_messages: list[str] = []


def _collect(level: int, template: bytes, arguments: int) -> int:
    if level < _DEBUG_LEVEL:
        buffer = ctypes.create_string_buffer(_MESSAGE_BYTES)
        # va_list is passed by reference on x86-64 and arm64, so it can be handed on as a pointer.
        _libc.vsnprintf(buffer, _MESSAGE_BYTES, template, ctypes.c_void_p(arguments))
        _messages.append(buffer.value.decode(errors="replace"))
    return 0


_collector = _PRINT(_collect)  # ctypes needs the callback object to stay alive
_libc = ctypes.CDLL(None, use_errno=True)

_Signatures = tuple[tuple[str, tuple[object, ...]], ...]
_POINTER_RESULTS: _Signatures = (
    ("bpf_object__open_file", (ctypes.c_char_p, ctypes.c_void_p)),
    ("bpf_object__next_program", (ctypes.c_void_p, ctypes.c_void_p)),
    ("bpf_object__next_map", (ctypes.c_void_p, ctypes.c_void_p)),
    ("bpf_map__initial_value", (ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t))),
)
_STRING_RESULTS = ("bpf_program__name", "bpf_program__section_name", "bpf_map__name")
_INT_RESULTS: _Signatures = (
    ("bpf_object__load", (ctypes.c_void_p,)),
    ("bpf_program__fd", (ctypes.c_void_p,)),
    ("bpf_program__type", (ctypes.c_void_p,)),
    ("bpf_program__set_autoload", (ctypes.c_void_p, ctypes.c_bool)),
    ("bpf_map__fd", (ctypes.c_void_p,)),
    ("bpf_map__type", (ctypes.c_void_p,)),
    ("bpf_map__key_size", (ctypes.c_void_p,)),
    ("bpf_map__value_size", (ctypes.c_void_p,)),
    ("bpf_map__max_entries", (ctypes.c_void_p,)),
    ("bpf_map__set_max_entries", (ctypes.c_void_p, ctypes.c_uint32)),
    ("bpf_map__reuse_fd", (ctypes.c_void_p, ctypes.c_int)),
    ("bpf_map__set_initial_value", (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t)),
)


@cache
def _lib() -> ctypes.CDLL:
    """Load libbpf once and bind what is used. Signatures are stable across libbpf 1.x."""
    try:
        lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise UsageError(f"libbpf.so.1 is missing ({error}); install Debian's libbpf1") from error
    for name, arguments in _POINTER_RESULTS:
        _bind(lib, name, ctypes.c_void_p, arguments)
    for name in _STRING_RESULTS:
        _bind(lib, name, ctypes.c_char_p, (ctypes.c_void_p,))
    for name, arguments in _INT_RESULTS:
        _bind(lib, name, ctypes.c_int, arguments)
    _bind(lib, "bpf_object__close", None, (ctypes.c_void_p,))
    lib.libbpf_set_print(_collector)
    return lib


def _bind(lib: ctypes.CDLL, name: str, result: object, arguments: tuple[object, ...]) -> None:
    function = getattr(lib, name)
    function.restype = result
    function.argtypes = arguments


def _failure(what: str, path: Path) -> VpcError:
    code = ctypes.get_errno()
    name = errno.errorcode.get(code, "")
    words = "".join(_messages).strip()[-_KEPT_CHARACTERS:] or os.strerror(code)
    text = f"{what} {path.name}: {words}"
    if code in (errno.EPERM, errno.ENOENT):
        return UsageError(text, code=name)
    if code in (errno.ENOMEM, errno.EAGAIN, errno.EBUSY):
        return TransientError(text, code=name)
    return BugError(text, code=name)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open the file and hand out libbpf's handle; the handle is closed if the block raises."""
    if not path.exists():
        raise UsageError(f"eBPF object {path} is missing; build it with `make objects`")
    _messages.clear()
    handle = _lib().bpf_object__open_file(os.fsencode(path), None)
    if not handle:
        raise _failure("open eBPF object", path)
    try:
        yield handle
    except BaseException:
        _lib().bpf_object__close(handle)
        raise


def _walk(following: Callable[[int, int | None], int | None], handle: int) -> Iterator[int]:
    item = following(handle, None)
    while item:
        yield item
        item = following(handle, item)


def _programs(handle: int) -> Iterator[tuple[ProgramSpec, int]]:
    lib = _lib()
    for pointer in _walk(lib.bpf_object__next_program, handle):
        spec = ProgramSpec(
            name=lib.bpf_program__name(pointer).decode(),
            section=lib.bpf_program__section_name(pointer).decode(),
            type=lib.bpf_program__type(pointer),
        )
        yield spec, pointer


def _maps(handle: int) -> Iterator[tuple[MapSpec, int]]:
    lib = _lib()
    for pointer in _walk(lib.bpf_object__next_map, handle):
        spec = MapSpec(
            name=lib.bpf_map__name(pointer).decode(),
            type=lib.bpf_map__type(pointer),
            key_size=lib.bpf_map__key_size(pointer),
            value_size=lib.bpf_map__value_size(pointer),
            max_entries=lib.bpf_map__max_entries(pointer),
        )
        yield spec, pointer


def _initial_value(pointer: int) -> bytes:
    size = ctypes.c_size_t()
    start = _lib().bpf_map__initial_value(pointer, ctypes.byref(size))
    return ctypes.string_at(start, size.value) if start else b""


def read_object(path: Path) -> ObjectSpec:
    """Describe the object file at `path`.

    Raises UsageError when there is no such file, BugError when it is no eBPF object.
    """
    with _opened(path) as handle:
        maps = tuple(_maps(handle))
        constants = next((_initial_value(p) for m, p in maps if m.name.endswith(_RODATA)), b"")
        spec = ObjectSpec(
            path=path,
            programs=tuple(program for program, _ in _programs(handle)),
            maps=tuple(found for found, _ in maps),
            constants=constants,
        )
    _lib().bpf_object__close(handle)
    return spec


def load_object(
    spec: ObjectSpec,
    *,
    programs: tuple[str, ...] | None = None,
    constants: bytes | None = None,
    max_entries: Mapping[str, int] = MappingProxyType({}),
    reuse: Mapping[str, int] = MappingProxyType({}),
) -> LoadedObject:
    """Load the object into the kernel and return its descriptors.

    `programs` names those to load (all by default), `constants` replaces .rodata as a whole and
    `max_entries` the size of maps. `reuse` are descriptors of maps, by name, to take instead of
    making new ones; they stay the caller's. Takes 5 to 50 ms, most of it the verifier's.
    Raises BugError with the verifier's words when the kernel refuses a program.
    """
    with _opened(spec.path) as handle:
        _configure(handle, spec, programs, constants)
        _size(handle, max_entries, reuse)
        if _lib().bpf_object__load(handle) != 0:
            raise _failure("load eBPF object", spec.path)
        return _loaded(handle, programs)


def _configure(
    handle: int,
    spec: ObjectSpec,
    programs: tuple[str, ...] | None,
    constants: bytes | None,
) -> None:
    for program, pointer in _programs(handle):
        if programs is not None and program.name not in programs:
            _lib().bpf_program__set_autoload(pointer, False)
    for found, pointer in _maps(handle):
        if constants is not None and found.name.endswith(_RODATA):
            _set_constants(pointer, constants, spec)


def _size(handle: int, max_entries: Mapping[str, int], reuse: Mapping[str, int]) -> None:
    for found, pointer in _maps(handle):
        if found.name in max_entries:
            _lib().bpf_map__set_max_entries(pointer, max_entries[found.name])
        if found.name in reuse and _lib().bpf_map__reuse_fd(pointer, reuse[found.name]) != 0:
            raise BugError(f"map {found.name}: libbpf does not take the one that is there")


def _set_constants(pointer: int, constants: bytes, spec: ObjectSpec) -> None:
    if _lib().bpf_map__set_initial_value(pointer, constants, len(constants)) != 0:
        raise BugError(
            f"constants of {spec.path.name}: {len(constants)} bytes given, "
            f"{len(spec.constants)} wanted"
        )


def _loaded(handle: int, programs: tuple[str, ...] | None) -> LoadedObject:
    lib = _lib()
    chosen = {
        spec.name: lib.bpf_program__fd(pointer)
        for spec, pointer in _programs(handle)
        if programs is None or spec.name in programs
    }
    maps = {spec.name: lib.bpf_map__fd(pointer) for spec, pointer in _maps(handle)}
    return LoadedObject(programs=chosen, maps=maps, _handle=handle)
