"""The built eBPF objects, as package data: made from ``bpf/*.bpf.c`` by the build."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def object_path(name: str) -> Path:
    """Return the path of the built object of ``bpf/<name>.bpf.c``."""
    return Path(str(files(__name__))) / f"{name}.bpf.o"
