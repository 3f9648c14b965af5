"""Services of type LoadBalancer: listeners, server groups, weights, drain.

Pure: see docs/design/loadbalancer.md.
"""
