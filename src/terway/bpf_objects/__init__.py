"""The built eBPF objects, as package data: made from ``bpf/*.bpf.c`` by the build."""

from __future__ import annotations

from pathlib import Path


def object_path(name: str) -> Path:
    """Return the path of the built object of ``bpf/<name>.bpf.c``."""
    return Path(__file__).with_name(f"{name}.bpf.o")
