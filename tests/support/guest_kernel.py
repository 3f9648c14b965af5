"""A Linux of its own for tests that need what the machine's kernel lacks: User-Mode Linux.

    machine                          guest (a process)
    /  ──hostfs, read-only──►        / with an overlay in memory
    folder  ──hostfs──────────►      the same path: the one that both write to

Debian's user-mode-linux is a kernel as an ordinary program; it has nearly every network module.
It runs best on one CPU: it hands over between two processes at each system call. Booting it and
importing a lab take some seconds, so all tests with the marker `guest` share one (GUEST tells them
where they are).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

GUEST = "TERWAY_TESTS_IN_GUEST"
KERNEL = "linux.uml"
MODULES = "/usr/lib/uml/modules"

# From the machine's root, read-only, to one that can be written: an overlay in the guest's memory.
_FIRST = f"""#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
box=/bin/busybox
$box mount -t proc proc /proc; $box mount -t sysfs sys /sys
for word in $(cat /proc/cmdline); do case $word in folder=*) folder=${{word#folder=}};; esac; done
$box mount -t tmpfs tmpfs /mnt
mkdir -p /mnt/upper /mnt/work /mnt/new /mnt/kernel/lib/modules
$box mount -o bind {MODULES} /mnt/kernel/lib/modules
modprobe -d /mnt/kernel overlay
$box mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/new
cd /mnt/new; mkdir -p lib/modules old
$box mount -o bind {MODULES} lib/modules
$box mount --move /proc proc; $box mount --move /sys sys; $box mount -t devtmpfs dev dev
$box mount -t hostfs -o $folder none /mnt/new$folder
$box pivot_root . old
cd /; export folder box; exec sh $folder/second
"""
# The last line powers off whatever runs it: only a guest's first process may.
_SECOND = """[ $$ = 1 ] && [ -n "$folder" ] || exit 99
export HOME=/root LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
mkdir -p /dev/pts /dev/shm
$box mount -t devpts devpts /dev/pts; $box mount -t tmpfs tmpfs /dev/shm
$box mount -t tmpfs tmpfs /run; $box mount -t cgroup2 none /sys/fs/cgroup
$box mount -t bpf none /sys/fs/bpf
ip link set lo up; modprobe ipv6
sh $folder/command >$folder/output 2>&1 </dev/null; echo $? >$folder/status
$box poweroff -f
"""
# A guest's programs are processes that its kernel traces: without it they would run on, here. They
# have a namespace that ends with it, and it ends with the test that began it, however that ends.
_DIE_TOGETHER = ("setpriv", "--pdeathsig", "KILL")


@dataclass(frozen=True, slots=True)
class GuestRun:
    """How a command in a guest ended; `status` is None where it did not end."""

    status: int | None
    output: str


def has_guest() -> bool:
    """Return whether this machine has what a guest is made of."""
    return bool(shutil.which(KERNEL) and shutil.which("busybox") and Path(MODULES).is_dir())


def run_in_guest(command: str, folder: Path, *, timeout_s: float) -> GuestRun:
    """Boot a guest, run a shell command in it, and wait for both to end (boot: 2 to 10 s)."""
    for name, text in (("first", _FIRST), ("second", _SECOND), ("command", command)):
        (folder / name).write_text(text, encoding="ascii")
    (folder / "first").chmod(0o755)
    words = (
        *("taskset", "-c", str(max(os.sched_getaffinity(0)))),
        *(*_DIE_TOGETHER, "timeout", "--signal=KILL", f"{timeout_s:g}"),
        *(*_DIE_TOGETHER, "unshare", "--pid", "--fork", "--kill-child"),
        *(KERNEL, "mem=2G", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"),
        *(f"init={folder}/first", f"folder={folder}", "con=null", "con0=null,fd:1"),
        *("con1=null", "quiet", "random.trust_cpu=on"),
    )
    with (folder / "console").open("wb") as console:
        subprocess.run(
            words,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
        )
    status, output = folder / "status", folder / "output"
    return GuestRun(
        status=int(status.read_text()) if status.exists() else None,
        output=output.read_text(errors="replace") if output.exists() else "",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestTest:
    """How one test in a guest ended: "passed", "skipped" or "failed", and what it said."""

    name: str
    outcome: str
    text: str = ""


def run_tests_in_guest(
    root: Path, *arguments: str, folder: Path, timeout_s: float
) -> tuple[GuestTest, ...]:
    """Run pytest in a guest, in the folder `root`, and return how each test ended.

    It is interrupted before the guest is, so that it tells what had failed and what was under way.
    Raises AssertionError with the guest's last words when it did not come to its end.
    """
    words = (
        *("timeout", "--signal=INT", "--kill-after=60", f"{timeout_s - 90.0:g}"),
        *(sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *arguments),
        f"--junitxml={folder}/junit.xml",
    )
    quoted = " ".join(f"'{word}'" for word in words)
    run = run_in_guest(f"cd {root} && {GUEST}=1 {quoted}", folder, timeout_s=timeout_s)
    report = folder / "junit.xml"
    if run.status not in (0, 1) or not report.exists():
        how = "did not end in time" if run.status in (None, 124) else f"ended with {run.status}"
        raise AssertionError(f"the guest {how}:\n{run.output[-12_000:]}")
    return tuple(_ended(ElementTree.parse(report).getroot()))


def _ended(report: ElementTree.Element) -> Iterator[GuestTest]:
    for case in report.iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        bad = [one for one in case if one.tag in ("failure", "error")]
        left = case.find("skipped")
        if bad:
            text = "\n".join(one.text or one.get("message") or "" for one in bad)
            yield GuestTest(name=name, outcome="failed", text=text)
        elif left is not None:
            yield GuestTest(name=name, outcome="skipped", text=left.get("message") or "")
        else:
            yield GuestTest(name=name, outcome="passed")
