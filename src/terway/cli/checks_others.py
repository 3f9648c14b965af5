"""Who else configures links on this node, and has somebody done it to an ENI of Terway's?

Sources: upstream Terway's init container (eni.service and udev rules that it disables),
systemd.link(5), networkd.conf(5), cloud-init's documentation of "updates: network: when".
"""

from __future__ import annotations

from collections.abc import Iterator

from terway.cli.finding import Finding, error, note, warning
from terway.cli.snapshot import HostView, Snapshot
from terway.model.network import MAIN_TABLE

_OTHER_NETWORKS = {
    "calico-node": "kubectl -n kube-system delete daemonset calico-node",
    "cilium-agent": "kubectl -n kube-system delete daemonset cilium",
    "flanneld": "kubectl -n kube-flannel delete daemonset kube-flannel-ds",
}
_NETWORKD_KEYS = ("ManageForeignRoutingPolicyRules=no", "ManageForeignRoutes=no")
_UDEV_RULES = ("75-persistent-net-generator.rules", "60-net.rules", "61-eni.rules")
_ENI_SERVICE = "eni.service"
_LINK_FILE = "/etc/systemd/network/10-terway-veth.link"


def check_others(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield the programs and files that take links which are Terway's, and what they did."""
    host = snapshot.host
    if host is not None:
        yield from _managers(host)
        yield from _helpers(host)
        yield from _mac_policy(host)
        yield from _agents(host)
    yield from _configured_enis(snapshot)


def _managers(host: HostView) -> Iterator[Finding]:
    texts = " ".join((host.texts or {}).values())
    if "NetworkManager" in host.programs and "interface-name:cali" not in texts:
        why = "it takes links it does not know, their addresses and routes"
        conf = "/etc/NetworkManager/conf.d/terway.conf"
        command = f"printf '[keyfile]\\nunmanaged-devices=interface-name:cali*\\n' > {conf}"
        command = f"{command}; systemctl reload NetworkManager"
        yield warning("NetworkManager manages pods' links", why, command)
    if "systemd-network" in host.programs:
        lacking = [one for one in _NETWORKD_KEYS if one not in texts]
        if lacking:
            why = "when it restarts, it removes rules and routes that it did not make"
            words = "\\n".join(("[Network]", *lacking))
            conf = "/etc/systemd/networkd.conf.d/terway.conf"
            command = f"mkdir -p /etc/systemd/networkd.conf.d; printf '{words}\\n' > {conf}"
            yield warning("systemd-networkd removes foreign rules", why, command)
    if "firewalld" in host.programs:
        why = "its default zone drops what is forwarded to pods"
        yield warning("firewalld runs", why, "systemctl disable --now firewalld")
    for program, command in _OTHER_NETWORKS.items():
        if program in host.programs:
            why = "two pod networks on one node fight over routes and rules"
            yield warning(f"{program} runs beside Terway", why, command)


def _helpers(host: HostView) -> Iterator[Finding]:
    """Yield what configures each ENI that is attached, as if it were the node's own."""
    for path in host.files:
        folder, _, name = path.rpartition("/")
        if name == _ENI_SERVICE and folder.endswith(".wants"):
            why = "it gives each ENI that is attached addresses and a default route of its own"
            yield warning(f"{_ENI_SERVICE} runs", why, f"systemctl disable --now {_ENI_SERVICE}")
        elif name in _UDEV_RULES and folder.endswith("udev/rules.d"):
            why = "it renames or configures ENIs when they are attached"
            mask = f"ln -sf /dev/null /etc/udev/rules.d/{name}; udevadm control --reload-rules"
            yield warning(f"udev rule {path}", why, mask)
    for path, text in (host.texts or {}).items():
        if path.startswith("/etc/cloud/") and "hotplug" in text:
            why = "cloud-init configures each ENI that is attached, with addresses and routes"
            command = f"sed -i 's/, *hotplug//; s/hotplug, *//' {path}"
            yield warning(f"{path} asks for hotplug", why, command)


def _mac_policy(host: HostView) -> Iterator[Finding]:
    texts = host.texts or {}
    if any("MACAddressPolicy=none" in text for text in texts.values()):
        return
    for path, text in texts.items():
        if path.startswith("/etc/") and "MACAddressPolicy=" in text:
            why = "udev gives new links other MACs; those that Terway has set are left alone"
            words = "[Match]\\nDriver=veth\\n[Link]\\nMACAddressPolicy=none\\n"
            yield note(f"MACAddressPolicy in {path}", why, f"printf '{words}' > {_LINK_FILE}")


def _agents(host: HostView) -> Iterator[Finding]:
    if len(host.agents) > 1:
        pids = ", ".join(map(str, host.agents))
        why = f"processes {pids}: two undo each other's work; the second refuses to start"
        yield error("more than one terwayd", why, f"kill {host.agents[-1]}")


def _configured_enis(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield what somebody has put on the links of the pool's ENIs."""
    kernel, journal = snapshot.kernel, snapshot.journal
    if kernel is None or journal is None:
        return
    macs = {one.mac for one in journal.enis}
    links = {one.name for one in kernel.node.links if one.mac in macs}
    own = {one.address.ip for one in kernel.node.addresses if one.link not in links}
    for one in kernel.node.addresses:
        ip = one.address.ip
        if one.link in links and ip not in own and not ip.is_link_local:
            why = "terwayd gives an ENI none but the node's own; some program configures ENIs"
            command = f"ip address delete {one.address} dev {one.link}"
            yield warning(f"link {one.link} has the address {ip}", why, command)
    for route in kernel.node.routes:
        if route.link in links and route.table == MAIN_TABLE and not route.destination.prefixlen:
            why = "the node's own packets may leave by an ENI that does not have their source"
            flag = "-6 " if route.destination.version == 6 else ""
            command = f"ip {flag}route delete default dev {route.link}"
            yield error(f"a default route by {route.link}, an ENI of pods", why, command)
