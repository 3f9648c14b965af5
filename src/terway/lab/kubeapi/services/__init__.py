"""What is particular about Services in the API: defaults, rules, node ports, what an update keeps.

Source: k8s.io/kubernetes pkg/apis/core/v1/defaults.go, pkg/apis/core/validation, pkg/registry/core/
service (storage/alloc.go, strategy.go), v1.34. Addresses and families are not in here.
"""
