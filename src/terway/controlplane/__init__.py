"""terway-controlplane: what needs a mind for the whole cluster. See docs/design/controlplane.md.

Controllers over the Kubernetes API and the cloud: pools of nodes, interfaces of pods, load
balancers; the webhook; the leader among equals. What they decide is decided in domain rooms.
"""
