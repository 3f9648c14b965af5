"""Where cases run: a mode that this kernel cannot have is refused, not replaced by another."""

from __future__ import annotations

import pytest

from terway.lab.policy import session
from terway.lab.policy.session import CaseMode, find_lab
from terway.model.errors import UsageError


def test_ipvlan_on_a_kernel_without_it_is_refused_with_the_ways_out(monkeypatch):
    monkeypatch.setattr(session, "ipvlan_lacks", lambda: "the kernel makes no ipvlan link")

    with pytest.raises(UsageError, match=r"no ipvlan link.* --mode datapathv2.* guest"):
        find_lab("none", mode=CaseMode.IPVLAN, progress=print)


@pytest.mark.parametrize("mode", CaseMode, ids=lambda one: one.value)
def test_the_lab_of_a_mode_has_nodes_for_its_pods(mode):
    plan = session.plan_for("case", mode)

    assert plan.control_plane is mode.has_members
    assert bool(plan.eni_conf.get(session.TRUNKING)) is mode.has_members
    assert plan.cni == {session.VIRTUAL_TYPE: mode.virtual_type}
    assert [name.partition("-")[0] for name in plan.node_names()] == (
        ["eni"] * 3 if mode.is_exclusive else ["node"] * 3
    )
