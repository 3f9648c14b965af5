"""Which figures are there?"""

from __future__ import annotations

from bench import agent, cni, lab, net
from bench.group import Group

GROUPS: tuple[Group, ...] = (cni.GROUP, net.GROUP, *agent.GROUPS, lab.GROUP)
