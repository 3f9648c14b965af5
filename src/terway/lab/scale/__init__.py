"""A cluster of thousands of nodes on paper: what is real, what is acted? See docs/design/scale.md.

Real: control plane, API server's state and rules, the cloud's actions and limits. Acted: agents.
"""
