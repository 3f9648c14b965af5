"""The load balancers of the lab: what their addresses do, by whose health. See lab-services.md.

`forwarding` and `health` decide, `probing` asks nodes, `run` keeps the fabric as they say. Which
addresses Services have is decided in `lab/kubeapi/controllers/loadbalancers`.
"""
