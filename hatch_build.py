"""Build the eBPF objects and the static CNI plugin; a hatchling hook, and a script of its own.

The objects land beside the sources (git-ignored), so that an editable install and a wheel have
the same layout. clang and musl-gcc come from Debian.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
BPF_SOURCES = ROOT / "bpf"
BPF_OBJECTS = ROOT / "src" / "terway" / "bpf_objects"
PLUGIN_SOURCE = ROOT / "src" / "terway" / "cni" / "terway.c"
PLUGIN = ROOT / "src" / "terway" / "cni" / "bin" / "terway"
CHART = ROOT / "deploy" / "chart" / "terway"

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wstrict-prototypes")


def is_stale(output: Path, *inputs: Path) -> bool:
    """Return whether `output` is missing or older than one of `inputs`."""
    if not output.exists():
        return True
    built = output.stat().st_mtime
    return any(path.stat().st_mtime > built for path in inputs)


def build_bpf_object(source: Path) -> Path:
    """Compile one ``*.bpf.c``; keep BTF, drop DWARF. UAPI headers only, no kernel headers."""
    output = BPF_OBJECTS / source.name.replace(".bpf.c", ".bpf.o")
    if is_stale(output, source, *BPF_SOURCES.glob("*.h")):
        output.parent.mkdir(parents=True, exist_ok=True)
        multiarch = sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu"
        # mcpu=v3 (32-bit ALU, atomics): kernels from 5.1 on; our floor is 5.10.
        flags = ("-O2", "-g", "-target", "bpf", "-mcpu=v3", f"-I/usr/include/{multiarch}")
        subprocess.run(
            ["clang", *flags, *WARNINGS, "-I", BPF_SOURCES, "-c", source, "-o", output], check=True
        )
        subprocess.run(["llvm-strip", "--strip-debug", "--keep-section=.BTF*", output], check=False)
        print(f"built {output.relative_to(ROOT)}")
    return output


def build_plugin() -> Path:
    """Compile the CNI plugin: static, so that any host can execute it."""
    if is_stale(PLUGIN, PLUGIN_SOURCE):
        PLUGIN.parent.mkdir(parents=True, exist_ok=True)
        flags = ("-static", "-Os", "-s", "-std=gnu11")
        subprocess.run(["musl-gcc", *flags, *WARNINGS, PLUGIN_SOURCE, "-o", PLUGIN], check=True)
        print(f"built {PLUGIN.relative_to(ROOT)}")
    return PLUGIN


def build_all() -> list[Path]:
    """Build everything that is stale and return all outputs."""
    outputs = [build_bpf_object(source) for source in sorted(BPF_SOURCES.glob("*.bpf.c"))]
    if PLUGIN_SOURCE.exists():
        outputs.append(build_plugin())
    return outputs


class NativeBuildHook(BuildHookInterface[Any]):
    """Put the built objects into the wheel, and give the wheel a platform tag."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build, then list the outputs for the wheel."""
        if self.target_name != "wheel" or version == "editable":
            return
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
        for output in build_all():
            build_data["force_include"][str(output)] = str(output.relative_to(ROOT / "src"))
        build_data["force_include"][str(CHART)] = "terway/cli/chart/terway"


if __name__ == "__main__":
    build_all()
    sys.exit(0)
