"""What did members of the node's trunk lose, and whose doing is it?"""

from __future__ import annotations

from collections.abc import Iterator

from terway.cli.finding import Finding, note, warning
from terway.cli.hops import RESTART_AGENT
from terway.cli.snapshot import Snapshot
from terway.linux.trunk_contract import TrunkLoss

# Since the programs are there, which outlives terwayd: a count alone is no fault.
_SEE = "terway-cli metrics | grep trunk_lost"


def check_trunk(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield what the programs at the trunk have lost, by reason."""
    for lost in snapshot.kernel.trunk_losses if snapshot.kernel is not None else ():
        what = f"the trunk lost {lost.packets} frames: {lost.meaning}"
        if lost.reason == TrunkLoss.KERNEL.name.lower():
            yield warning(what, "the kernel refuses what the programs ask of it", RESTART_AGENT)
        elif lost.reason == TrunkLoss.UNKNOWN_VLAN.name.lower():
            why = "some come while a pod goes; if it grows, a member is attached without its pod"
            yield note(what, why, "kubectl get podenis -A")
        else:
            yield note(what, "a pod, or somebody in the VPC, forges frames", _SEE)
