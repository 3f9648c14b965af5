"""What everybody has in common who drives a pool: the agent its own, the control plane each node's.

The calls that a pool's commands stand for, the ports behind them, and settings out of eni-config.
"""
