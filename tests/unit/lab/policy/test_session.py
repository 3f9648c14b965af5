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
