"""Centralized IPAM: which addresses and ENIs does each node have? See docs/design/pools.md.

One `ipam.Pool` a node, which sees to the supply only; the node's agent gives the addresses out.
"""
