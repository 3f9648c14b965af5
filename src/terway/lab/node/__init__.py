"""A lab node: an ECS instance made of namespaces, with an init process that starts the rest.

`launch` makes the namespaces, `spawner` is the node's PID 1, `main` is the node's own daemon
(kubelet and the supervisor of terwayd). What a node looks like inside: docs/design/lab-node.md.
"""
