"""All tests that need another kernel than the machine's, in one guest.

They have the marker `guest`, and are passed over everywhere else. To run some of them:
pytest tests/contract/test_guest_kernel.py --guest=tests/contract/linux/test_ipvlan.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.guest_kernel import has_guest, run_tests_in_guest

pytestmark = pytest.mark.root

_ROOT = Path(__file__).parents[2]
_TIMEOUT_S = 1200.0  # a machine with other work on every core


def test_what_needs_another_kernel_works_in_one(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    assert has_guest(), "no guest kernel: apt-get install user-mode-linux busybox-static kmod"
    chosen = pytestconfig.getoption("guest") or _files_with_the_marker()

    ended = run_tests_in_guest(_ROOT, "-m", "guest", *chosen, folder=tmp_path, timeout_s=_TIMEOUT_S)

    bad = [one for one in ended if one.outcome != "passed"]
    told = "\n\n".join(f"{one.name} {one.outcome} in the guest:\n{one.text}" for one in bad)
    assert ended, "no test has the marker guest"
    assert not bad, told
    print(f"{len(ended)} tests passed in the guest kernel")


def _files_with_the_marker() -> list[str]:
    """Return the files to look into, by their text: to import all takes a guest a minute."""
    files = (_ROOT / "tests").rglob("test_*.py")
    return sorted(str(one.relative_to(_ROOT)) for one in files if "mark.guest" in one.read_text())
