"""Departure times by real traffic, in a kernel with fq where the machine's own has none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from terway.linux.limit_support import read_limit_support
from tests.contract.linux import test_pacing
from tests.support.guest_kernel import has_guest, run_in_guest

pytestmark = pytest.mark.root

_TIMEOUT_S = 420  # two minutes on a machine with other work


def test_what_a_pod_sends_is_held_by_departure_times(tmp_path: Path) -> None:
    if not read_limit_support().pacing_lacks:
        pytest.skip("this kernel has fq: test_pacing has run in it")
    assert has_guest(), "no guest kernel: apt-get install user-mode-linux busybox-static kmod"
    tests = Path(test_pacing.__file__)
    words = f"{sys.executable} -m pytest -q -p no:cacheprovider -rs {tests}"

    run = run_in_guest(f"cd {tests.parents[3]} && {words}", tmp_path, timeout_s=_TIMEOUT_S)

    assert run.status == 0, run.output[-4000:]
    assert "skipped" not in run.output
