"""What does terwayd say of its data path, to tools and to who looks at the Node?"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from terway.agent.ebpf.bringup import Bringup
from terway.agent.ebpf.choice import CHANGED, Chosen
from terway.agent.kube_side import KubeSide
from terway.agent.node_report import DATAPATH, EBPF
from terway.agent.readonly import Page
from terway.agent.terwayd import Terwayd
from terway.config.cni_conf import CniConf
from terway.linux.ebpf.programs import memory_of

PATH = "/debug/datapath"


def show_choice(terwayd: Terwayd, kube: KubeSide | None, chosen: Chosen, cni: CniConf) -> None:
    """Have tools and the Node say which data path it has; tell where it is another one."""
    terwayd.pages[PATH] = page_of(chosen, cni, terwayd.bringup)
    if kube is not None:
        kube.notes[DATAPATH] = EBPF if chosen.has_datapath else None
    if kube is not None and chosen.lacks:
        asked = f"{cni.virtual_type.value} was asked for: {chosen.lacks}"
        kube.tell_node("Warning", CHANGED, f"pods have {chosen.mode.value}; {asked}")


def page_of(chosen: Chosen, cni: CniConf, bringup: Bringup | None) -> Callable[[], Page]:
    """Return what answers the page: what was asked for, what there is, and what its maps take."""

    def answer() -> Page:
        state = {
            "asked": cni.virtual_type.value,
            "mode": chosen.mode.value,
            "lacks": chosen.lacks,
            "is_up": bringup is not None and bringup.is_up,
            "has_tcx": bringup is not None and bringup.datapath.edges.has_tcx,
            "maps": {} if bringup is None else _maps(bringup),
        }
        return Page(body=msgspec.json.encode(state) + b"\n", content_type="application/json")

    return answer


def _maps(bringup: Bringup) -> dict[str, dict[str, int]]:
    maps = bringup.datapath.object.maps
    memory = memory_of(maps)
    return {
        name: {"max_entries": one.max_entries, "memory_bytes": memory[name]}
        for name, one in maps.items()
    }
