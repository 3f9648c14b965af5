"""The VPC: an eBPF fabric in a network namespace of its own, one veth per ENI."""
