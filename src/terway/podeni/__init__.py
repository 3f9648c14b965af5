"""PodNetworking and PodENI: which network a pod is to have, and the life of its interfaces.

Pure: see docs/design/podeni.md.
"""
