"""What may whom be allowed at the cloud? The actions that are used, and no others.

`deploy/ram-*.json` are made of this (``python -m terway.cloud.permissions``), and the lab's keys
may do just this: what is missing here fails there first.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

# A node's own pool (`ipam_type: default`). With a control plane nodes may do nothing.
AGENT = (
    "ecs:AssignIpv6Addresses",
    "ecs:AssignPrivateIpAddresses",
    "ecs:AttachNetworkInterface",
    "ecs:CreateNetworkInterface",
    "ecs:DeleteNetworkInterface",
    "ecs:DescribeInstanceTypes",
    "ecs:DescribeInstances",
    "ecs:DescribeNetworkInterfaceAttribute",
    "ecs:DescribeNetworkInterfaces",
    "ecs:DetachNetworkInterface",
    "ecs:ModifyNetworkInterfaceAttribute",  # security groups that changed
    "ecs:UnassignIpv6Addresses",
    "ecs:UnassignPrivateIpAddresses",
    "vpc:DescribeVSwitches",
)

LOAD_BALANCERS = (
    "slb:*",
    "nlb:*",
)

CONTROL_PLANE = (*AGENT, *LOAD_BALANCERS)

POLICIES = {"ram-agent.json": AGENT, "ram-controlplane.json": CONTROL_PLANE}


def policy_text(actions: Sequence[str]) -> str:
    """Return a RAM policy as its console takes it."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return json.dumps({"Version": "1", "Statement": [statement]}, indent=2) + "\n"


def main() -> None:
    """Write the policy that the first argument names to stdout."""
    sys.stdout.write(policy_text(POLICIES[sys.argv[1]]))


if __name__ == "__main__":
    main()
