"""Network namespaces: opened, made, entered by one thread only, deleted; settings inside."""

from __future__ import annotations

import os
import threading

import pytest

from terway.linux import netns as netns_module
from terway.linux import sysctl
from terway.linux.netlink import link
from terway.linux.netlink.socket import open_route_socket
from terway.linux.netns import (
    create_netns,
    delete_netns,
    entered,
    identity_of,
    netns_inode,
    open_netns,
    own_netns_inode,
)
from terway.model.errors import ConflictError, UsageError
from terway.model.network import Sysctl


@pytest.mark.root
def test_a_created_namespace_can_be_opened_until_it_is_deleted(tmp_path):
    path = str(tmp_path / "ns" / "a")

    create_netns(path)
    with open_netns(path) as opened:
        assert opened.inode == netns_inode(path) != own_netns_inode()
    delete_netns(path)
    delete_netns(path)

    assert netns_inode(path) is None
    assert not os.path.exists(path)


@pytest.mark.root
def test_a_second_namespace_at_a_path_is_a_conflict(netns):
    with pytest.raises(ConflictError) as caught:
        create_netns(netns.path)

    assert caught.value.code == "EEXIST"


def test_a_path_without_anything_is_a_conflict():
    with pytest.raises(ConflictError) as caught, open_netns("/nowhere"):
        pass

    assert caught.value.code == "ENOENT"


def test_a_path_to_something_else_is_refused(tmp_path):
    file = tmp_path / "plain"
    file.touch()

    for path in (file, "/proc/self/ns/uts"):
        with pytest.raises(UsageError, match="not a network namespace"), open_netns(str(path)):
            pass


@pytest.mark.root
def test_only_the_calling_thread_enters_and_it_comes_back(pod):
    home, seen = own_netns_inode(), []
    start, done = threading.Event(), threading.Event()

    def look() -> None:
        start.wait()
        seen.append(own_netns_inode())
        done.set()

    bystander = threading.Thread(target=look)
    bystander.start()
    with open_netns(pod.path) as opened, entered(opened.fd):
        assert own_netns_inode() == opened.inode
        start.set()
        done.wait()
    bystander.join()

    assert seen == [home]
    assert own_netns_inode() == home


@pytest.mark.root
def test_a_thread_comes_back_from_a_namespace_also_when_it_fails(pod):
    home = own_netns_inode()

    with pytest.raises(ZeroDivisionError), open_netns(pod.path) as opened, entered(opened.fd):
        raise ZeroDivisionError

    assert own_netns_inode() == home


@pytest.mark.root
def test_a_socket_belongs_to_the_namespace_it_was_opened_in(pod):
    pod.run("ip link add marker type veth peer name other")

    with open_netns(pod.path) as opened, open_route_socket(opened.fd) as sock:
        assert sock.first(link.by_name("marker")) is not None


@pytest.mark.root
def test_settings_are_those_of_the_namespace_the_thread_is_in(netns, pod):
    path = "net/ipv4/conf/all/rp_filter"
    with open_netns(pod.path) as opened, entered(opened.fd):
        sysctl.ensure(Sysctl(path=path, value="2"))
        sysctl.ensure(Sysctl(path=path, value="2"))
        assert sysctl.read(path) == "2"

    assert pod.run("sysctl -n net.ipv4.conf.all.rp_filter").strip() == "2"
    assert sysctl.read(path) == netns.run("sysctl -n net.ipv4.conf.all.rp_filter").strip() != "2"


@pytest.mark.root
def test_a_setting_that_does_not_exist_is_none_to_read_and_a_conflict_to_write(netns):
    path = "net/ipv4/conf/nobody/rp_filter"

    assert sysctl.read(path) is None
    with pytest.raises(ConflictError):
        sysctl.ensure(Sysctl(path=path, value="0"))


@pytest.mark.root
def test_a_namespace_is_recognized_and_its_successor_at_the_path_is_not(tmp_path, monkeypatch):
    """Also where the kernel has no cookies: an inode's number alone is given again at once."""
    path, seen = str(tmp_path / "ns" / "a"), []
    for option in (netns_module._SO_NETNS_COOKIE, 9999):  # no kernel knows the second
        monkeypatch.setattr(netns_module, "_SO_NETNS_COOKIE", option)
        for _ in range(20):
            create_netns(path)
            for _ in range(2):
                with open_netns(path) as opened, open_route_socket(opened.fd) as sock:
                    seen.append(identity_of(opened.fd, sock.fileno()))
            delete_netns(path)

    assert seen[::2] == seen[1::2]
    assert len(set(seen)) == 40
