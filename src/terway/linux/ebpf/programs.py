"""The data path's object in the kernel: programs by entry point, maps by name, over what is there.

    pinned maps of this layout and size ──► taken as they are
    others: of another size, or layout  ──► new maps; `flows`, `choices` copied by field name
    programs loaded ► maps filled (agent) ► programs exchanged, link by link ► `settle`: pins

Until `settle`, the programs of the last terwayd carry packets with the maps they have, and a crash
leaves them so. Blocking; for workers.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from terway.bpf_objects import object_path
from terway.linux.bpf import Map, map_of
from terway.linux.bpf_program import program_info
from terway.linux.ebpf.contract import CHOICE, FLOW_STATE, FLOW_TUPLE, LAYOUT
from terway.linux.ebpf.migrate import (
    DESCRIPTION,
    Convert,
    Structs,
    converter,
    describe,
    put_absent,
    put_all,
    read_description,
)
from terway.linux.ebpf.pinned_programs import (
    digest_of,
    forget_programs,
    keep_programs,
    open_programs,
)
from terway.linux.ebpf.pins import PROGRAMS, Pins
from terway.linux.libbpf import LoadedObject, MapSpec, ObjectSpec, load_object, read_object
from terway.model.errors import TransientError, UsageError, VpcError

OBJECT = object_path("datapath")

# What is nobody else's knowledge: connections, and what was chosen for them.
STRUCTS: Structs = {"flows": (FLOW_TUPLE, FLOW_STATE), "choices": (FLOW_TUPLE, CHOICE)}

_ARRAY_TYPE = 2
_FULL = frozenset(("E2BIG", "ENOSPC"))  # of hashes, of tries
_SCRATCH_TYPES = frozenset({6, 27})  # per-CPU array, ring: nothing in them is worth a copy
_NO_SIZES: Mapping[str, int] = MappingProxyType({})
_FAILED_MAP = re.compile(r"map '([\w.]+)': failed to create")


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPoint:
    """A loaded program. `tag` is of its instructions: equal programs have equal tags."""

    fd: int
    number: int
    tag: str


@dataclass(slots=True, kw_only=True)
class _Copy:
    """What is copied from a map of another size or layout, and what was already."""

    source: Map
    target: Map
    key_of: Convert
    value_of: Convert
    copied: frozenset[bytes] = field(default_factory=frozenset)

    def run(self) -> None:
        found = self._with_room(self.source.items())
        later = {key: value for key, value in found.items() if key not in self.copied}
        entries = ((self.key_of(key), self.value_of(value)) for key, value in later.items())
        try:
            (put_absent if self.copied else put_all)(self.target, entries)
        except TransientError as error:
            if error.code not in _FULL:
                raise
            # What has no room any more: whoever fills the map again says so in its own words.
        self.copied = frozenset(found)

    def _with_room(self, found: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """Leave out what an array has no place for, or has already: zeros, most of a million."""
        if self.target.type != _ARRAY_TYPE:
            return found
        places = self.target.max_entries
        return {
            key: value
            for key, value in found.items()
            if value.strip(b"\0") and int.from_bytes(key, sys.byteorder) < places
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Identity:
    """Which object it is, and how the maps are laid out that it has."""

    layout: int
    structs: Structs
    digest: str


class DataPathObject:
    """The loaded object. Descriptors are open until `close`; what is attached or pinned stays."""

    def __init__(
        self,
        *,
        programs: Mapping[str, EntryPoint],
        maps: Mapping[str, Map],
        pins: Pins,
        identity: _Identity,
        copies: tuple[_Copy, ...],
        sources: tuple[int, ...],
        is_fresh: bool,
    ) -> None:
        self.is_fresh = is_fresh  # some maps are new, and nobody has filled them yet
        self.programs = programs
        self.maps = maps
        self.pins = pins
        self._identity = identity
        self._copies = copies
        self._sources = sources  # descriptors of maps that others go on with for a moment

    def settle(self) -> None:
        """Take what came meanwhile over, and pin the maps; those of other layouts are let go.

        To be called once every link has the new programs. Idempotent.
        """
        for one in self._copies:
            one.run()
        self._copies = ()
        self._let_go()
        layout, digest = self._identity.layout, self._identity.digest
        folder = self.pins.folder(PROGRAMS)
        forget_programs(folder, but="" if self.is_fresh else digest)
        self._pin_maps()
        keep_programs(folder, digest, {name: one.fd for name, one in self.programs.items()})
        for other in self.pins.layouts():
            if other != layout:
                self.pins.drop(other)

    def _pin_maps(self) -> None:
        description = describe(self._identity.structs)
        try:
            kept = {name: one for name, one in self.maps.items() if is_kept(one)}
            self.pins.keep(self._identity.layout, {**kept, DESCRIPTION: description})
        finally:
            os.close(description.fd)

    def close(self) -> None:
        """Close all descriptors."""
        fds = (*(one.fd for one in self.programs.values()), *(one.fd for one in self.maps.values()))
        for fd in fds:
            os.close(fd)
        self._let_go()

    def _let_go(self) -> None:
        for fd in self._sources:
            os.close(fd)
        self._sources = ()


def is_kept(one: Map) -> bool:
    """Return whether a map outlives its program: what is more than its constants."""
    return "." not in one.name


def open_object(
    pins: Pins,
    *,
    sizes: Mapping[str, int] = _NO_SIZES,
    constants: bytes | None = None,
    path: Path = OBJECT,
    layout: int = LAYOUT,
    structs: Structs = STRUCTS,
) -> DataPathObject:
    """Load the programs over the maps that an earlier terwayd pinned; nothing is attached yet.

    `sizes` are the entries of maps, by name. Takes half a second, nearly all of it the verifier's,
    and 10 ms where the very same programs are pinned.
    Raises UsageError (field: the map) where a map has no room, BugError with the verifier's last
    words where it refuses a program.
    """
    spec = read_object(path)
    digest = digest_of(path, constants, sizes)
    older = {one: pins.open_maps(one) for one in pins.layouts()}
    with ExitStack() as stack:
        for held in older.values():
            stack.callback(_close_all, tuple(held.values()))
        same = older.pop(layout, {})
        taken = {one.name: same[one.name] for one in spec.maps if _is_same(one, same, sizes)}
        programs, maps = _again(spec, pins, digest, taken) or _loaded(spec, sizes, constants, taken)
        others = {name: one for name, one in same.items() if name not in taken}
        older_maps = {} if same else next(iter(older.values()), {})
        copies = (*_of_other_size(maps, others), *_of_other_layout(maps, older_maps, structs))
        sources = _start(copies)
    return DataPathObject(
        programs=programs,
        maps=maps,
        pins=pins,
        identity=_Identity(layout=layout, structs=structs, digest=digest),
        copies=copies,
        sources=sources,
        is_fresh=any(is_kept(one) and name not in taken for name, one in maps.items()),
    )


def _again(
    spec: ObjectSpec, pins: Pins, digest: str, taken: Mapping[str, Map]
) -> tuple[dict[str, EntryPoint], dict[str, Map]] | None:
    """Return programs and maps as the last terwayd left them; None where they are other ones."""
    if any("." not in one.name and one.name not in taken for one in spec.maps):
        return None
    fds = open_programs(pins.folder(PROGRAMS), digest)
    try:
        if fds.keys() != {one.name for one in spec.programs}:
            return None
        programs = {name: _entry_point(fd) for name, fd in fds.items()}
    finally:
        for fd in fds.values():
            os.close(fd)
    return programs, {name: map_of(os.dup(one.fd)) for name, one in taken.items()}


def _loaded(
    spec: ObjectSpec, sizes: Mapping[str, int], constants: bytes | None, taken: Mapping[str, Map]
) -> tuple[dict[str, EntryPoint], dict[str, Map]]:
    reuse = {name: one.fd for name, one in taken.items()}
    with closing(_load(spec, sizes, constants, reuse)) as loaded:
        programs = {name: _entry_point(fd) for name, fd in loaded.programs.items()}
        return programs, {name: map_of(os.dup(fd)) for name, fd in loaded.maps.items()}


def _start(copies: tuple[_Copy, ...]) -> tuple[int, ...]:
    """Copy what there is now; return descriptors of the sources, from which more will come."""
    for one in copies:
        one.run()
        one.source = replace(one.source, fd=os.dup(one.source.fd))
    return tuple(one.source.fd for one in copies)


def _is_same(wanted: MapSpec, there: Mapping[str, Map], sizes: Mapping[str, int]) -> bool:
    """Return whether a pinned map is what the object would make."""
    found = there.get(wanted.name)
    if found is None:
        return False
    entries = sizes.get(wanted.name, wanted.max_entries)
    return (found.type, found.key_size, found.value_size, found.max_entries) == (
        wanted.type,
        wanted.key_size,
        wanted.value_size,
        entries,
    )


def _load(
    spec: ObjectSpec, sizes: Mapping[str, int], constants: bytes | None, reuse: Mapping[str, int]
) -> LoadedObject:
    known = {one.name for one in spec.maps}
    fitting = {name: size for name, size in sizes.items() if name in known and name not in reuse}
    try:
        return load_object(spec, constants=constants, max_entries=fitting, reuse=reuse)
    except VpcError as error:
        failed = _FAILED_MAP.search(str(error))
        if failed is None:
            raise
        name = failed[1]
        entries = fitting.get(name) or next(
            one.max_entries for one in spec.maps if one.name == name
        )
        text = f"the kernel makes no map {name!r} of {entries} entries: {error}"
        raise UsageError(text, field=name, code=error.code) from error


def _entry_point(fd: int) -> EntryPoint:
    about = program_info(fd)
    return EntryPoint(fd=os.dup(fd), number=about.id, tag=about.tag)


def _of_other_size(maps: Mapping[str, Map], there: Mapping[str, Map]) -> Iterator[_Copy]:
    """Yield what fills maps of this layout that the configuration has of another size now."""
    for name, source in there.items():
        target = maps.get(name)
        if target is not None and _is_alike(source, target):
            yield _Copy(source=source, target=target, key_of=_as_it_is, value_of=_as_it_is)


def _of_other_layout(
    maps: Mapping[str, Map], there: Mapping[str, Map], structs: Structs
) -> Iterator[_Copy]:
    """Yield what fills maps of what another layout has, as far as it is described there."""
    described = read_description(there)
    for name in described.keys() & structs.keys() & there.keys() & maps.keys():
        old, new = described[name], structs[name]
        yield _Copy(
            source=there[name],
            target=maps[name],
            key_of=converter(old[0], new[0]),
            value_of=converter(old[1], new[1]),
        )


def _is_alike(source: Map, target: Map) -> bool:
    return source.type not in _SCRATCH_TYPES and (
        source.type,
        source.key_size,
        source.value_size,
    ) == (
        target.type,
        target.key_size,
        target.value_size,
    )


def _as_it_is(data: bytes) -> bytes:
    return data


def _close_all(maps: tuple[Map, ...]) -> None:
    for one in maps:
        os.close(one.fd)


def memory_of(maps: Mapping[str, Map]) -> dict[str, int]:
    """Return the bytes of kernel memory that maps take, as the kernel counts them."""
    return {name: _memlock(one.fd) for name, one in maps.items()}


def _memlock(fd: int) -> int:
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("memlock:")), 0)
