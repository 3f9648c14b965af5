"""What does a pod of a history ask for? As annotations, the way its author writes them."""

from __future__ import annotations

import json

from terway.config.pod_networks import POD_NETWORKS
from terway.model.ids import VSwitchId

EGRESS = "kubernetes.io/egress-bandwidth"


def wishes_of(*, networks: int, megabits: int, elsewhere: VSwitchId) -> dict[str, str]:
    """Return the annotations of a new pod: all interfaces but the first are `elsewhere`."""
    return {**_networks(networks, elsewhere), **limit_of(megabits)}


def limit_of(megabits: int) -> dict[str, str]:
    """Return the annotation of a limit, none for none."""
    return {EGRESS: f"{megabits}M"} if megabits else {}


def _networks(count: int, elsewhere: VSwitchId) -> dict[str, str]:
    if count < 2:
        return {}
    others = [
        {"interface": f"eth{number}", "vSwitchOptions": [elsewhere]} for number in range(1, count)
    ]
    return {POD_NETWORKS: json.dumps({"podNetworks": [{"interface": "eth0"}, *others]})}
