"""Which figures are there?"""

from __future__ import annotations

from bench import (
    agent,
    central,
    cni,
    datapath,
    exclusive,
    faults,
    fixedip,
    flannel,
    ipvlan,
    lab,
    monitor,
    net,
    policy_compile,
    policy_flowlog,
    policy_latency,
    policy_net,
    scale,
    service_load,
    service_net,
)
from bench.group import Group

GROUPS: tuple[Group, ...] = (
    cni.GROUP,
    net.GROUP,
    datapath.GROUP,
    ipvlan.GROUP,
    exclusive.GROUP,
    flannel.GROUP,
    *agent.GROUPS,
    lab.GROUP,
    faults.GROUP,
    policy_compile.GROUP,
    policy_net.GROUP,
    policy_flowlog.GROUP,
    policy_latency.GROUP,
    service_net.GROUP,
    service_load.GROUP,
    monitor.GROUP,
    *scale.GROUPS,
    central.GROUP,
    fixedip.GROUP,
)
