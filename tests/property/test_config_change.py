"""What a terwayd follows depends on what it started with and what is wanted now, not on the way."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from terway.agent.reload import Reloader
from terway.config.agent_config import AgentConfig, parse_agent_config

CNI = {"10-terway.conf": '{"type": "terway"}', "disable_network_policy": "true"}
# Keys that can change and keys that cannot, right and wrong values, and some that contradict.
conf = st.fixed_dictionaries(
    {},
    optional={
        "min_pool_size": st.integers(-1, 6),
        "max_pool_size": st.integers(0, 6),
        "ip_stack": st.sampled_from(["ipv4", "dual", "ipv6", "v4"]),
        "extra_routes": st.sampled_from([[], [{"dst": "10.0.0.0/8"}], [{"dst": "fd00::/8"}]]),
        "enable_patch_pod_ips": st.booleans(),
        "eni_tags": st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy")),
        "service_cidr": st.sampled_from(["", "172.21.0.0/20"]),
    },
)


HELD = {"eni_conf.ip_stack", "eni_conf.enable_patch_pod_ips", "eni_conf.service_cidr"}


def held(config: AgentConfig) -> tuple[object, ...]:
    """What cannot change while terwayd runs."""
    return config.eni.ip_stack, config.eni.patches_pod_ips, config.eni.service_cidr


def files(keys: dict[str, Any]) -> dict[str, str]:
    return {"eni_conf": json.dumps(keys), **CNI}


def start(keys: dict[str, Any]) -> tuple[Reloader, list[AgentConfig]]:
    applied = [parse_agent_config(files(keys))]
    reloader = Reloader(
        applied[0], check=lambda _: None, apply=applied.append, tell=lambda *_: None
    )
    return reloader, applied


def all_waits(reloader: Reloader) -> bool:
    """Whether keys that could change wait for those that cannot, which they would contradict."""
    return not HELD.issuperset(reloader.state.pending)


START = {"ip_stack": "dual", "max_pool_size": 3}


@settings(max_examples=150)
@given(st.lists(conf, max_size=5), conf)
def test_the_way_to_a_configuration_does_not_matter(history, wanted):
    direct, straight = start(START)
    is_right = direct.offer(files(wanted), None)
    around, roundabout = start(START)

    for one in history:
        around.offer(files(one), None)
    before = roundabout[-1]
    again = around.offer(files(wanted), None)

    assert again == is_right
    if is_right and not all_waits(direct):
        assert roundabout[-1].eni == straight[-1].eni
        assert around.state.pending == direct.state.pending
    else:
        assert roundabout[-1] is before


@settings(max_examples=100)
@given(st.lists(conf, max_size=5))
def test_what_needs_a_restart_never_changes_and_the_first_can_be_had_back(history):
    reloader, applied = start(START)

    for one in history:
        reloader.offer(files(one), None)
        assert held(applied[-1]) == held(applied[0])

    assert reloader.offer(files(START), None)
    assert applied[-1].eni == applied[0].eni
    assert not reloader.state.pending
