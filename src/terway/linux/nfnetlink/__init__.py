"""nf_tables by netlink: values of `terway.model.nft` to the kernel's bytes and back.

No libnftables: it reads whole sets before it removes an element, and its answer is text.
"""
