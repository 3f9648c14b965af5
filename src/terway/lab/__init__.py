"""terway-lab: an emulated cloud, VPC, Kubernetes API and nodes on one machine.

A product of its own. Everything in it speaks the real protocols, so that neither the agent nor
the control plane knows that it is there.
"""
