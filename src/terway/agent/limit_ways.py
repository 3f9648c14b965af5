"""By what does this node hold pods to their limits: what was asked for, and what its kernel has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from terway.config.choices import BandwidthMode
from terway.config.cni_conf import CniConf
from terway.config.findings import Caution
from terway.datapath.facts import NodeFacts
from terway.linux.limit_support import LimitSupport
from terway.model.interface import Mode

_FIELD = "bandwidth_mode"


def with_limits(facts: NodeFacts, cni: CniConf, found: LimitSupport) -> NodeFacts:
    """Return `facts` with the best that the kernel has of what was asked for."""
    wants_pacing = cni.bandwidth_mode is BandwidthMode.EDT
    return replace(
        facts,
        has_pacing=wants_pacing and not found.pacing_lacks,
        has_shared_limits=not found.sharing_lacks,
    )


def limit_cautions(mode: Mode, cni: CniConf, found: LimitSupport) -> Iterator[Caution]:
    """Yield what will be other than was asked for."""
    if cni.bandwidth_mode is BandwidthMode.EDT and found.pacing_lacks:
        text = f"edt: this kernel cannot ({found.pacing_lacks}); limits are kept as with tc"
        yield Caution(field=_FIELD, text=f"{text}: load sch_fq, or take tc")
    if mode is Mode.EXCLUSIVE and found.sharing_lacks:
        text = f"this kernel cannot share a limit among links ({found.sharing_lacks})"
        rest = "what pods receive is not limited, and each link has the limit: load ifb, act_mirred"
        yield Caution(field=_FIELD, text=f"{text}; {rest}")
