"""A Flannel-style network, to be compared with: a block of addresses a node, VXLAN or VPC routes.

Not part of the product. It does what Flannel's `vxlan` and `alivpc` backends do, with the same
kernel objects, annotations and calls, over Debian's own CNI plugins.
"""
