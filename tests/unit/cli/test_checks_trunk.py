"""doctor tells what members of a trunk lost, and takes only what nobody forged for a fault."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terway.cli.checks_trunk import check_trunk
from terway.cli.finding import Severity
from terway.cli.snapshot import GuardLoss
from terway.linux.trunk_contract import TrunkLoss
from tests.support.snapshots import healthy


@pytest.mark.parametrize(
    ("why", "severity", "words"),
    [
        (TrunkLoss.KERNEL, Severity.WARNING, "kernel refuses"),
        (TrunkLoss.UNKNOWN_VLAN, Severity.NOTE, "without its pod"),
        (TrunkLoss.SPOOFED, Severity.NOTE, "forges"),
    ],
)
def test_a_loss_is_told_with_whose_doing_it_is(why, severity, words):
    seen = healthy()
    assert seen.kernel is not None
    lost = GuardLoss(reason=why.name.lower(), meaning=why.meaning, packets=7)

    (found,) = check_trunk(replace(seen, kernel=replace(seen.kernel, trunk_losses=(lost,))))

    assert found.severity is severity
    assert "7 frames" in found.what
    assert words in found.why


def test_a_trunk_that_lost_nothing_is_not_mentioned():
    assert tuple(check_trunk(healthy())) == ()
