"""A reader of BTF (Documentation/bpf/btf.rst): structs and enums of a built eBPF object."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

_ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_BTF_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")

INT, PTR, ARRAY, STRUCT, UNION, ENUM = 1, 2, 3, 4, 5, 6
TYPEDEF, VOLATILE, CONST, RESTRICT = 8, 9, 10, 11
# Bytes after the fixed part: for each member, or fixed.
_PER_MEMBER = {STRUCT: 12, UNION: 12, ENUM: 8, 13: 8, 15: 12, 19: 12}
_FIXED = {INT: 4, ARRAY: 12, 14: 4, 17: 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    name: str
    kind: int
    size_or_type: int
    extra: bytes
    members: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Btf:
    """The types of an object, by their number."""

    types: list[Type]
    strings: bytes = field(repr=False)

    def structs(self) -> dict[str, dict[str, tuple[int, int]]]:
        """Return offset and size, in bytes, of each member of each named struct."""
        return {t.name: self._members(t) for t in self.types if t.kind == STRUCT and t.name}

    def sizes(self) -> dict[str, int]:
        return {t.name: t.size_or_type for t in self.types if t.kind == STRUCT and t.name}

    def enums(self) -> dict[str, dict[str, int]]:
        return {t.name: self._values(t) for t in self.types if t.kind == ENUM and t.name}

    def _members(self, one: Type) -> dict[str, tuple[int, int]]:
        found = {}
        for i in range(one.members):
            name, kind, bits = _TYPE.unpack_from(one.extra, i * 12)
            found[self._string(name)] = ((bits & 0xFFFFFF) // 8, self._size(kind))
        return found

    def _values(self, one: Type) -> dict[str, int]:
        pairs = (struct.unpack_from("<Ii", one.extra, i * 8) for i in range(one.members))
        return {self._string(name): value for name, value in pairs}

    def _size(self, number: int) -> int:
        one = self.types[number]
        if one.kind in (TYPEDEF, VOLATILE, CONST, RESTRICT):
            return self._size(one.size_or_type)
        if one.kind == ARRAY:
            element, _, count = (int(n) for n in _TYPE.unpack(one.extra))
            return self._size(element) * count
        return 8 if one.kind == PTR else one.size_or_type

    def _string(self, offset: int) -> str:
        return _text(self.strings, offset)


def _text(strings: bytes, offset: int) -> str:
    return strings[offset : strings.index(b"\0", offset)].decode()


def _section(data: bytes, wanted: str) -> bytes:
    header = _ELF_HEADER.unpack_from(data)
    offset, entry, count, names_at = header[6], header[11], header[12], header[13]
    sections = [_SECTION.unpack_from(data, offset + i * entry) for i in range(count)]
    names = data[sections[names_at][4] : sections[names_at][4] + sections[names_at][5]]
    for found in sections:
        if _text(names, found[0]) == wanted:
            return data[found[4] : found[4] + found[5]]
    raise LookupError(f"no section {wanted}")


def read_btf(path: Path) -> Btf:
    data = _section(path.read_bytes(), ".BTF")
    magic, _, _, head, type_at, type_len, string_at, string_len = _BTF_HEADER.unpack_from(data)
    assert magic == 0xEB9F
    strings = data[head + string_at : head + string_at + string_len]
    types = [Type(name="void", kind=0, size_or_type=0, extra=b"", members=0)]
    start, end = head + type_at, head + type_at + type_len
    while start < end:
        name, info, size_or_type = _TYPE.unpack_from(data, start)
        kind, members = info >> 24 & 31, info & 0xFFFF
        length = _PER_MEMBER[kind] * members if kind in _PER_MEMBER else _FIXED.get(kind, 0)
        extra = data[start + 12 : start + 12 + length]
        types.append(
            Type(
                name=_text(strings, name),
                kind=kind,
                size_or_type=size_or_type,
                extra=extra,
                members=members,
            )
        )
        start += 12 + length
    return Btf(types=types, strings=strings)
