"""When is now, as the kernel counts it? The plugin reads the same two (cni/terway.c)."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

from terway.model.moment import Moment


def read_moment() -> Moment:
    """Return the present moment."""
    return Moment(boot_id=_boot_id(), seconds=time.clock_gettime(time.CLOCK_BOOTTIME))


@cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
