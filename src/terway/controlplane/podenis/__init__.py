"""PodNetworking, PodENI, NetworkInterface: what `podeni` decides, done.

See docs/design/podeni.md.
"""
