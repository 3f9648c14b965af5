"""The lab's kubelet and container runtime, in one process a node.

Runs pods as a kubelet with containerd does, as far as a network plugin and its users can tell:
`network` speaks CNI by the exec protocol, `pod` lives a pod's life, `kubelet` watches the API.
"""
