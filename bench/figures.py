"""Which figures are there?"""

from __future__ import annotations

from bench import cni
from bench.group import Group

GROUPS: tuple[Group, ...] = (cni.GROUP,)
