"""The flow log: which connections of this node's pods were allowed or denied, and by which rule.

`service.FlowLog` puts it together. While nobody follows, and eni-config asks for nothing, no rule
logs.
"""
