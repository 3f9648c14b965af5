"""What terwayd shows of its policies to tools on the node: what is heard, in force, proved."""

from __future__ import annotations

from typing import Any

import msgspec

from terway.agent.policy.engine import Engine
from terway.agent.policy.proof import Proof
from terway.agent.policy.view import View
from terway.agent.readonly import Page

PATH = "/debug/policy"


def summary_page(view: View, engine: Engine, proof: Proof, *, age_s: float) -> Page:
    """Return what is heard, in force and proved; `age_s` is that of the last proof."""
    state, outcome = engine.state, proof.outcome
    return _json(
        {
            "synced": view.is_synced,
            "heard": view.heard,
            "not_followed": view.troubles,
            "stale_s": view.stale_s,
            "settled": not (view.is_waiting or engine.turn.locked() or state.trouble)
            and engine.is_tidy,
            "pods": len(view.pods.values),
            "namespaces": len(view.namespaces.values),
            "nodes": len(view.nodes.values),
            "policies": [
                {"policy": str(one.key), "generation": one.generation, "fault": one.fault}
                for one in view.all_policies()
            ],
            "attached": {str(key): [*map(str, ips)] for key, ips in view.attached.items()},
            "in_force": {
                "trouble": state.trouble,
                "adoptions": state.adoptions,
                "changes": state.changes,
                **proof.counts,
            },
            "verify": {
                "age_s": age_s if outcome.at else None,
                "took_s": outcome.took_s,
                "differences": outcome.differences,
                "error": outcome.error,
            },
        }
    )


def _json(value: dict[str, Any]) -> Page:
    return Page(body=msgspec.json.encode(value) + b"\n", content_type="application/json")
