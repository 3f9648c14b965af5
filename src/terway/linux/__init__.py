"""How to say it to the kernel: netlink, network namespaces, sysctl, conntrack, bpf(2).

An edge room: it decides nothing. The plan comes as operations (`model.network`), the kernel's
answer goes back as values or as the project's errors. Everything that blocks runs in `workers`.
"""
