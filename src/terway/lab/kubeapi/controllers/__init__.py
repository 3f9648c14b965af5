"""What makes the cluster move: scheduler, workloads, node life, garbage.

Each controller is a pure plan over a `View` of the cluster: it returns actions, the runner
applies them and looks again, until nobody wants anything more. So the outcome depends on the
state only, never on which change came first or how often one looked.
"""
