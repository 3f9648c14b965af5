"""What is wrong around the node: configuration, permissions, quotas, clock, MTU, other managers?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from terway.cli.finding import Finding, error, note, warning
from terway.cli.hops import RESTART_AGENT
from terway.cli.snapshot import HostView, Snapshot
from terway.cloud.inspect import Permission

_SKEW_WARNING_S, _SKEW_ERROR_S = 30.0, 900.0  # the cloud refuses signatures 15 min off
_FEW_ADDRESSES = 16
_IN_FORCE = "NetworkPolicyInForce="
_PLUGIN = "/opt/cni/bin/terway"
_CONFLIST = "10-terway.conflist"
_CONF_DIR = "/etc/cni/net.d/"
_POLICY = "aliyun ram CreatePolicyVersion --PolicyName PolicyForTerway --SetAsDefault true"
_MISSING_FEATURES = {
    "veth": "modprobe veth",
    "conntrack": "modprobe nf_conntrack",
    "room for connections": "sysctl -w net.netfilter.nf_conntrack_max=1048576",
    "BPF file system": "mount -t bpf bpf /sys/fs/bpf",
    "IPv6": "boot without ipv6.disable=1 (grubby --update-kernel=ALL --remove-args=ipv6.disable=1)",
    "BTF": "a kernel with CONFIG_DEBUG_INFO_BTF",
    "policy routing IPv4": "a kernel with CONFIG_IP_MULTIPLE_TABLES",
    "policy routing IPv6": "a kernel with CONFIG_IPV6_MULTIPLE_TABLES",
}


def check_config(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield what the configuration asks for and does not get."""
    config = snapshot.config
    if config is None:
        return
    edit = "kubectl -n kube-system edit configmap eni-config"
    if config.refusal:
        yield error("the configuration is refused", config.refusal, edit)
    for text in config.cautions:
        yield note("a setting without effect", text, edit)


def check_cloud(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield permissions that are missing, and quotas and ranges that are used up."""
    host, cloud = snapshot.host, snapshot.cloud
    denied = [one for one in (host.permissions if host else ()) if one.is_allowed is False]
    if denied:
        actions = ", ".join(one.action for one in denied)
        why = f"terwayd's keys may not: {actions} ({denied[0].answer})"
        yield error("the RAM role lacks permissions", why, _policy(denied))
    for one in host.permissions if host else ():
        if one.is_allowed is None:
            yield warning(
                f"nobody knows whether {one.action} is allowed",
                one.answer,
                "terway-cli doctor, once more",
            )
    for vswitch in cloud.vswitches if cloud else ():
        left = vswitch.available_ip_count
        if left < _FEW_ADDRESSES:
            why = f"{left} of {vswitch.cidr} are left; pods wait when there are none"
            command = "add another vSwitch of the zone to vswitches in eni-config"
            made = error if left == 0 else warning
            yield made(f"vSwitch {vswitch.id} runs out of addresses", why, command)
    limits = cloud.limits if cloud else None
    # Members of the trunk have a limit of their own, EniTotalQuantity - EniQuantity.
    slots = sum(one.trunk_eni_id is None for one in cloud.enis) if cloud else 0
    if limits is not None and slots > limits.eni_quantity:
        why = f"{slots} ENIs, {limits.instance_type} has {limits.eni_quantity}"
        yield warning("more ENIs than the instance type has", why, "terway-cli show")


def _policy(denied: Iterable[Permission]) -> str:
    """Return the command that allows what is denied; the policy is named as the product does."""
    actions = sorted(one.action if ":" in one.action else f"ecs:{one.action}" for one in denied)
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    document = json.dumps({"Version": "1", "Statement": [statement]}, separators=(",", ":"))
    return f"{_POLICY} --PolicyDocument '{document}' (with what it allows already)"


def check_kubernetes(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield conditions of the Node that say something is wrong."""
    kube, agent = snapshot.kubernetes, snapshot.agent
    said = agent.reason if agent is not None and not agent.can_add else None
    for node in kube.nodes if kube else ():
        if node.name == snapshot.node_name:
            for text in node.conditions:
                if (said is not None and said in text) or _is_of_policy(text, snapshot):
                    continue  # terwayd has said it itself, and it is found
                command = f"kubectl describe node {node.name}"
                yield warning("a condition of the Node", text, command)


def _is_of_policy(text: str, snapshot: Snapshot) -> bool:
    policy = snapshot.policy
    return text.startswith(_IN_FORCE) and policy is not None and policy.agent is not None


def check_host(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield what is wrong with the machine."""
    host = snapshot.host
    if host is None:
        return
    for feature, state in host.features.items():
        if state != "yes":
            why = f"{state} (kernel {host.kernel_release})"
            command = _MISSING_FEATURES.get(feature, "another kernel")
            yield error(f"the kernel lacks {feature}", why, command)
    yield from _plugin(host)
    yield from _clock(host)
    yield from _mtu(snapshot, host)


def _plugin(host: HostView) -> Iterator[Finding]:
    if _PLUGIN not in host.files:
        why = "the runtime cannot attach any pod; terwayd installs it at start"
        yield error(f"{_PLUGIN} is missing", why, RESTART_AGENT)
    confs = sorted(one for one in host.files if one.startswith(_CONF_DIR))
    names = [one.removeprefix(_CONF_DIR) for one in confs]
    usable = [one for one in names if one.endswith((".conf", ".conflist", ".json"))]
    if _CONFLIST not in usable:
        why = "the runtime sees no network; terwayd writes it once it serves"
        yield error(f"{_CONF_DIR}{_CONFLIST} is missing", why, RESTART_AGENT)
    elif usable[0] != _CONFLIST:
        why = f"the runtime takes the first by name: {usable[0]}, not {_CONFLIST}"
        command = f"mv {_CONF_DIR}{usable[0]} /root/"
        yield error("another CNI configuration comes first", why, command)


def _clock(host: HostView) -> Iterator[Finding]:
    for name, skew in (host.clock_skew_s or {}).items():
        if abs(skew) < _SKEW_WARNING_S:
            continue
        ahead = "ahead of" if skew > 0 else "behind"
        why = f"signatures and certificates depend on it; refused from {_SKEW_ERROR_S:.0f} s on"
        what = f"this clock is {abs(skew):.0f} s {ahead} {name}"
        made = error if abs(skew) >= _SKEW_ERROR_S else warning
        yield made(what, why, "chronyc makestep")


def _mtu(snapshot: Snapshot, host: HostView) -> Iterator[Finding]:
    links = {one.name: one for one in snapshot.kernel.node.links} if snapshot.kernel else {}
    for path, size in (host.path_mtu_bytes or {}).items():
        link = links.get(path.rpartition(" ")[2])
        if size == 0:
            why = "an echo of the smallest size did not come back; some gateways answer none"
            yield note(f"{path}: the gateway answers no probe", why, "terway-cli connectivity-test")
        elif link is not None and size < link.mtu_bytes:
            why = f"{link.name} says {link.mtu_bytes}, no more than {size} came through"
            command = f'"mtu": {size} in 10-terway.conf of eni-config'
            yield error(f"{path}: large packets are lost", why, command)
