"""The coming together: cloud, fabric, Kubernetes API and nodes as one lab.

`lab.open_lab` runs one in the caller's event loop, `serve` in a process of its own.
"""
