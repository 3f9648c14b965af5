"""How a C struct is written as bytes, and read back: the half of a contract that is in Python.

A layout has no padding of its own, as the structs it mirrors have none; a test compares the two,
field by field, against the BTF of the built object.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A C struct: its name, and each field with its code of the `struct` module.

    Every field is one value: arrays and nested structs are ``"<n>s"``, packed by their own
    layout. Integers are in the machine's byte order; what the network orders is ``"2s"``, ``"4s"``.
    """

    name: str
    fields: tuple[tuple[str, str], ...]

    @cached_property
    def _struct(self) -> struct.Struct:
        return struct.Struct("=" + "".join(code for _, code in self.fields))

    @property
    def size(self) -> int:
        """Return the bytes of the whole struct."""
        return self._struct.size

    def offsets(self) -> dict[str, tuple[int, int]]:
        """Return the offset and size of each field."""
        found: dict[str, tuple[int, int]] = {}
        start = 0
        for name, code in self.fields:
            size = struct.calcsize("=" + code)
            found[name] = (start, size)
            start += size
        return found

    def pack(self, **values: int | bytes) -> bytes:
        """Return the struct with these fields; those left out are zero."""
        known = [name for name, _ in self.fields]
        if unknown := values.keys() - set(known):
            raise TypeError(f"struct {self.name} has no field {', '.join(sorted(unknown))}")
        return self._struct.pack(
            *(values.get(name, b"" if code.endswith("s") else 0) for name, code in self.fields)
        )

    def unpack(self, data: bytes) -> dict[str, int | bytes]:
        """Return the fields of a packed struct."""
        names = (name for name, _ in self.fields)
        return dict(zip(names, self._struct.unpack(data), strict=True))

    def integers(self, data: bytes) -> dict[str, int]:
        """Return the fields that are numbers."""
        return {k: v for k, v in self.unpack(data).items() if isinstance(v, int)}
