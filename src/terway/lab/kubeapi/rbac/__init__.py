"""Who may do what? Role-based access control, as Kubernetes has it.

    users        who somebody is: a name and groups
    attributes   what a request asks for, read from its path
    rules        does a rule allow that, and does one set of rules cover another
    grants       roles and bindings: which rules has this user, and where from
    authorizer   the answer for the cluster as it is now
    escalation   nobody gives what he does not have
    audit        what was really asked: so roles are seen to be sufficient and narrow
    reviews      the same questions, asked over the API

Source: k8s.io/kubernetes plugin/pkg/auth/authorizer/rbac, pkg/registry/rbac, v1.32.
"""
