"""NetworkPolicy on this node: what the API says, compiled, in force, proved and told.

`service.PolicyService` puts it together; `gate.PolicyGate` is what ADD and DEL see of it.
"""
