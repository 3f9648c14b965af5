"""What does the cluster give to every pod with an ENI of its own?"""

from __future__ import annotations

from dataclasses import dataclass, field

from terway.model.ids import SecurityGroupId, VSwitchId
from terway.model.pod_network import VSwitchChoice

LEAST_TTL_S = 300.0  # the documentation's "5m0s"; pods of a StatefulSet need about as long
FIXED_NAME_KINDS = frozenset({"StatefulSet"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What a network has that says nothing: from eni-config."""

    vswitch_ids: tuple[VSwitchId, ...] = ()
    security_group_ids: tuple[SecurityGroupId, ...] = ()
    resource_group_id: str = ""
    vswitch_choice: VSwitchChoice = VSwitchChoice.ORDERED


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the control plane is configured, as far as pods' networks are concerned.

    `has_every_pod` gives each pod an ENI of its own, asked for or not (`ipamType: crd`);
    `has_whole_nodes` those on nodes whose pods have whole ENIs, whose agents then make none.
    `has_gates` keeps pods back until their ENI exists, so that a zone without addresses is passed
    over. `fixed_kinds` are the owners whose pods keep their names.
    """

    has_trunk: bool = True
    injects_resource: bool = True
    has_every_pod: bool = False
    has_whole_nodes: bool = False
    has_gates: bool = False
    fixed_kinds: frozenset[str] = field(default=FIXED_NAME_KINDS)
