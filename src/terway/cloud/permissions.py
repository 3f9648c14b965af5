"""What may whom be allowed at the cloud? The actions that are used, and no others.

`deploy/ram-*.json` are made of this (`make manifests`), and the lab's keys may do just this: what
is missing here fails there first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

# A node's own pool (`ipam_type: default`). With a control plane nodes may do nothing.
AGENT = (
    "ecs:AssignIpv6Addresses",
    "ecs:AssignPrivateIpAddresses",
    "ecs:AttachNetworkInterface",
    "ecs:CreateNetworkInterface",
    "ecs:DeleteNetworkInterface",
    "ecs:DescribeInstanceTypes",
    "ecs:DescribeNetworkInterfaces",
    "ecs:DetachNetworkInterface",
    "ecs:ModifyNetworkInterfaceAttribute",  # security groups that changed
    "ecs:UnassignIpv6Addresses",
    "ecs:UnassignPrivateIpAddresses",
    "vpc:DescribeVSwitches",
)

LOAD_BALANCERS = (
    # From where an NLB may be reached is said by a security group.
    "ecs:AuthorizeSecurityGroup",
    "ecs:CreateSecurityGroup",
    "ecs:DeleteSecurityGroup",
    "ecs:DescribeSecurityGroupAttribute",
    "ecs:DescribeSecurityGroups",
    "ecs:RevokeSecurityGroup",
    "slb:AddAccessControlListEntry",
    "slb:AddVServerGroupBackendServers",
    "slb:CreateAccessControlList",
    "slb:CreateLoadBalancer",
    "slb:CreateLoadBalancerHTTPListener",
    "slb:CreateLoadBalancerHTTPSListener",
    "slb:CreateLoadBalancerTCPListener",
    "slb:CreateLoadBalancerUDPListener",
    "slb:CreateVServerGroup",
    "slb:DeleteAccessControlList",
    "slb:DeleteLoadBalancer",
    "slb:DeleteLoadBalancerListener",
    "slb:DeleteVServerGroup",
    "slb:DescribeAccessControlListAttribute",
    "slb:DescribeAccessControlLists",
    "slb:DescribeHealthStatus",
    "slb:DescribeLoadBalancerListeners",
    "slb:DescribeLoadBalancers",
    "slb:DescribeVServerGroupAttribute",
    "slb:DescribeVServerGroups",
    "slb:ModifyLoadBalancerInstanceSpec",
    "slb:RemoveAccessControlListEntry",
    "slb:RemoveVServerGroupBackendServers",
    "slb:SetLoadBalancerDeleteProtection",
    "slb:SetLoadBalancerHTTPListenerAttribute",
    "slb:SetLoadBalancerHTTPSListenerAttribute",
    "slb:SetLoadBalancerModificationProtection",
    "slb:SetLoadBalancerName",
    "slb:SetLoadBalancerTCPListenerAttribute",
    "slb:SetLoadBalancerUDPListenerAttribute",
    "slb:SetVServerGroupAttribute",
    "slb:StartLoadBalancerListener",
    "slb:StopLoadBalancerListener",
    "slb:TagResources",
    "slb:UntagResources",
    "nlb:AddServersToServerGroup",
    "nlb:CreateListener",
    "nlb:CreateLoadBalancer",
    "nlb:CreateServerGroup",
    "nlb:DeleteListener",
    "nlb:DeleteLoadBalancer",
    "nlb:DeleteServerGroup",
    "nlb:GetJobStatus",
    "nlb:GetListenerHealthStatus",
    "nlb:ListListeners",
    "nlb:ListLoadBalancers",
    "nlb:ListServerGroupServers",
    "nlb:ListServerGroups",
    "nlb:LoadBalancerJoinSecurityGroup",
    "nlb:LoadBalancerLeaveSecurityGroup",
    "nlb:RemoveServersFromServerGroup",
    "nlb:StartListener",
    "nlb:TagResources",
    "nlb:UntagResources",
    "nlb:UpdateListenerAttribute",
    "nlb:UpdateLoadBalancerAttribute",
    "nlb:UpdateLoadBalancerProtection",
    "nlb:UpdateServerGroupAttribute",
    "nlb:UpdateServerGroupServersAttribute",
)

CONTROL_PLANE = (*AGENT, *LOAD_BALANCERS)

POLICIES = {"ram-agent.json": AGENT, "ram-controlplane.json": CONTROL_PLANE}


def policy_text(actions: Sequence[str]) -> str:
    """Return a RAM policy as its console takes it."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return json.dumps({"Version": "1", "Statement": [statement]}, indent=2) + "\n"
