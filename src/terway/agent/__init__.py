"""terwayd, the node daemon: answers the CNI plugin and keeps the kernel and the pool in order.

An app: it wires domain rooms (`config`, `ipam`, `datapath`) to edges (`linux`, `cloud`, `kube`,
`store`) and holds the loops.
"""
