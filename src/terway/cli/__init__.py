"""terway-cli: what is the state of a node, why does a packet not arrive, and what mends it?

An app beside the agent: it reads the same world (journal, kernel, cloud, Kubernetes) on its own, so
that it answers when terwayd does not.
"""
