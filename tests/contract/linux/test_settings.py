"""A link's settings, read from its message, are those that the files under /proc/sys show."""

from __future__ import annotations

import pytest

from terway.linux import sysctl
from terway.linux.netlink import devconf
from terway.linux.session import open_session
from terway.model.errors import ConflictError
from terway.model.network import NODE, Netns, Sysctl

pytestmark = pytest.mark.root

SETTINGS = {
    "net/ipv4/conf/veth0/forwarding": ("0", "1"),
    "net/ipv4/conf/veth0/proxy_arp": ("0", "1"),
    "net/ipv4/conf/veth0/rp_filter": ("0", "1", "2"),
    "net/ipv6/conf/veth0/forwarding": ("0", "1"),
    "net/ipv6/conf/veth0/accept_ra": ("0", "1", "2"),
    "net/ipv6/conf/veth0/disable_ipv6": ("0", "1"),
    "net/ipv6/conf/veth0/accept_dad": ("0", "1", "2"),
}


@pytest.mark.parametrize("path", SETTINGS)
def test_every_value_is_read_as_it_was_written(netns, path):
    netns.run("ip link add veth0 type veth peer name veth1")
    with open_session() as session:
        sock = session.namespace(NODE).sock
        for value in SETTINGS[path]:
            sysctl.write(Sysctl(path=path, value=value))
            found = sock.first(devconf.configured_by_name("veth0"))

            assert found is not None
            assert found.setting(path) == value


def test_settings_of_no_single_link_or_of_another_are_not_in_a_links_message(netns):
    netns.run("ip link add veth0 type veth peer name veth1")
    with open_session() as session:
        found = session.namespace(NODE).sock.first(devconf.configured_by_name("veth0"))

    assert found is not None
    for path in (
        "net/ipv4/conf/all/rp_filter",
        "net/ipv4/conf/veth1/rp_filter",
        "net/ipv4/conf/veth0/no_such_setting",
        "net/ipv4/ip_forward",
    ):
        assert found.setting(path) is None
    assert devconf.link_of("net/ipv4/conf/all/rp_filter") is None
    assert devconf.link_of("net/ipv6/conf/eth0.5/accept_ra") == "eth0.5"


@pytest.mark.parametrize("path", ["net/ipv4/conf/lo/rp_filter", "net/ipv4/ip_forward"])
def test_a_setting_is_ensured_in_the_namespace_it_is_meant_for(netns, pod, path):
    dotted = path.replace("/", ".")
    before = netns.run(f"sysctl -n {dotted}")
    wanted = Sysctl(path=path, value="1")

    with open_session() as session:
        session.namespace(Netns(pod.path)).ensure(wanted)
        session.namespace(Netns(pod.path)).ensure(wanted)

    assert pod.run(f"sysctl -n {dotted}").strip() == "1"
    assert netns.run(f"sysctl -n {dotted}") == before


def test_a_setting_can_be_changed_to_and_fro_within_one_job(netns):
    path = "net/ipv4/conf/lo/rp_filter"
    with open_session() as session:
        for value in ("1", "2", "1"):
            session.namespace(NODE).ensure(Sysctl(path=path, value=value))
            assert sysctl.read(path) == value


def test_a_namespace_that_is_not_there_is_a_conflict():
    with open_session() as session, pytest.raises(ConflictError):
        session.namespace(Netns("/nowhere"))
