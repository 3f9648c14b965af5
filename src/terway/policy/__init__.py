"""May this connection be made? NetworkPolicy and ClusterNetworkPolicy: the model and its users.

`evaluate` is the truth, written to be obviously right. Everything else answers the same question
faster or for somebody else, and is tested against it.
"""
