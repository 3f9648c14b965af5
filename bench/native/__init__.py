"""The benchmark's own small C programs, compiled when first used."""

from __future__ import annotations

import subprocess
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_BUILD = _HERE.parents[1] / "build" / "bench"
_FLAGS = ("-static", "-O2", "-s", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wshadow")


def program(name: str) -> str:
    """Return the path of ``bench/native/<name>.c``, compiled; static, so it runs in any root."""
    source, output = _HERE / f"{name}.c", _BUILD / name
    if not output.exists() or output.stat().st_mtime < source.stat().st_mtime:
        output.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["musl-gcc", *_FLAGS, str(source), "-o", str(output)], check=True)
    return str(output)
