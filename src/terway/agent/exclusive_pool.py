"""What is the pool told on a node whose pods have an ENI each?

It is the pool with one address of each family for an ENI. So its sizes count warm ENIs, and
cooling, trimming and what survives a crash are as everywhere.
"""

from __future__ import annotations

from dataclasses import replace

from terway.config.eni_conf import EniConf
from terway.ipam.settings import PoolConfig


def exclusive_pool(shared: PoolConfig, conf: EniConf) -> PoolConfig:
    """Return the settings of a pool of whole ENIs; `shared` are those of the same node otherwise.

    `min_pool_size` and `max_pool_size` count the ENIs that wait for a pod; `min_eni` goes before
    the first. Prefixes, RDMA and the trunk are for pods that share ENIs.
    """
    min_free = min(conf.min_eni or conf.min_pool_size, shared.max_enis)
    return replace(
        shared,
        ipv4_per_eni=min(1, shared.ipv4_per_eni),
        ipv6_per_eni=min(1, shared.ipv6_per_eni),
        min_free=min_free,
        max_free=max(min_free, min(conf.max_pool_size, shared.max_enis)),
        warm_up=min(shared.warm_up, shared.max_enis),
        has_prefixes=False,
        ipv4_prefixes=0,
        ipv6_prefixes=0,
        erdma_enis=0,
        has_trunk=False,
    )
