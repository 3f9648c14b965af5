"""What is inside a container of these tests? A static busybox, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

BUSYBOX = "/bin/busybox"


def make_rootfs(folder: Path) -> Path:
    """Make a root file system with busybox and its commands in /bin."""
    for name in ("bin", "dev", "etc", "proc", "run", "sys", "tmp", "www"):
        (folder / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, folder / "bin" / "busybox")
    applets = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True)
    for applet in set(applets.stdout.split()) - {"busybox"}:
        (folder / "bin" / applet).symlink_to("busybox")
    (folder / "www" / "index.html").write_text("hello from a container\n")
    return folder
