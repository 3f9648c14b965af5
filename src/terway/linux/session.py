"""The network namespaces that one job works in: each opened once, entered only where it must be.

A socket stays in the namespace it was born in, so the thread is inside only to make the socket and
to touch settings that netlink does not have. Blocking; for workers, one job after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from terway.linux import sysctl
from terway.linux.netlink import devconf
from terway.linux.netlink.devconf import ConfiguredLink
from terway.linux.netlink.socket import RouteSocket, open_route_socket
from terway.linux.netns import entered, identity_of, open_netns
from terway.linux.traffic import Traffic
from terway.model.network import NODE, Netns, Sysctl


class Namespace:
    """One network namespace within a job: its socket, its links by name, its settings."""

    def __init__(self, sock: RouteSocket, fd: int | None, traffic: Traffic) -> None:
        self.sock = sock
        self.traffic = traffic
        self.fd = fd  # None: the thread's own
        self._links: dict[str, ConfiguredLink] = {}
        self._indexes: dict[str, int] = {}
        self._written: dict[str, str] = {}

    @property
    def identity(self) -> str:
        """Return what tells a pod's namespace from every other; empty for the node's."""
        return "" if self.fd is None else identity_of(self.fd, self.sock.fileno())

    def link(self, name: str) -> ConfiguredLink | None:
        """Return a link as it was when it was first asked for; None when there is none."""
        if name not in self._links:
            found = self.sock.first(devconf.configured_by_name(name))
            if found is None:
                return None
            self._links[name] = found
        return self._links[name]

    def index_of(self, name: str) -> int | None:
        """Return the number of a link, None when there is none. Two microseconds, and no lock."""
        if name in self._links:
            return self._links[name].link.ifindex
        if name not in self._indexes:
            found = self.sock.index_of(name)
            if found is None:
                return None
            self._indexes[name] = found
        return self._indexes[name]

    def forget(self, name: str) -> None:
        """Forget a link that was made or deleted."""
        self._links.pop(name, None)
        self._indexes.pop(name, None)

    def ensure(self, wanted: Sysctl) -> None:
        """Write a setting unless it has the value already."""
        known = self._written.get(wanted.path) or self._known(wanted.path)
        if known == wanted.value:
            return
        with self._inside():
            if known is None:
                sysctl.ensure(wanted)
            else:
                sysctl.write(wanted)
        self._written[wanted.path] = wanted.value

    def _known(self, path: str) -> str | None:
        name = devconf.link_of(path)
        found = None if name is None else self.link(name)
        return None if found is None else found.setting(path)

    def read_file(self, path: str) -> str | None:
        """Return a setting from its file; None when there is no such setting."""
        with self._inside():
            return sysctl.read(path)

    def _inside(self) -> AbstractContextManager[None]:
        return nullcontext() if self.fd is None else entered(self.fd)


class Session:
    """The namespaces of one job."""

    def __init__(self, stack: ExitStack, traffic: Traffic) -> None:
        self._stack = stack
        self.traffic = traffic
        self._namespaces: dict[Netns, Namespace] = {}

    def namespace(self, netns: Netns) -> Namespace:
        """Return the namespace at a path, opened once per session.

        Raises ConflictError (code ENOENT) when nothing is there, UsageError when it is something
        else.
        """
        if netns not in self._namespaces:
            self._namespaces[netns] = self._open(netns)
        return self._namespaces[netns]

    def _open(self, netns: Netns) -> Namespace:
        fd = None if netns == NODE else self._stack.enter_context(open_netns(netns)).fd
        sock = self._stack.enter_context(open_route_socket(fd))
        return Namespace(sock, fd, self.traffic)


@contextmanager
def open_session(traffic: Traffic | None = None) -> Iterator[Session]:
    """Open a session for the block; its sockets are closed with it."""
    with ExitStack() as stack:
        yield Session(stack, traffic or Traffic())
