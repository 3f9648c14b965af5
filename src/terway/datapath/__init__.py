"""Which links, addresses, routes and rules make an attachment: desired state, plans, checks.

A domain room: pure functions over `model.network` values. What is there comes in as a value, the
operations go out as values, and both families are written once.
"""
