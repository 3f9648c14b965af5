"""What is PID 1 of a node, and how do processes start there?

The node's init: it starts processes in namespaces when the node's daemon asks, reaps whatever
dies, and ends the whole node (the kernel kills a PID namespace with its init) when the daemon is
gone. It is single-threaded and imports little, so that a fork costs a millisecond; the daemon
itself, with its event loop and threads, never forks.

One JSON message a packet on a SOCK_SEQPACKET pair, stdio as SCM_RIGHTS:

    daemon → init   {"id": 1, "op": "run", "argv": […], "env": {…}, "cwd": "/", "jail": {…} | null,
                     "target": pid | null}         + three file descriptors
                    {"id": 2, "op": "sandbox", "net": path, "uts": path, "ipc": path, "hostname": …}
                    {"id": 3, "op": "kill", "pid": …, "signal": …}
    init → daemon   {"id": 1, "pid": …} or {"id": 1, "error": "…"};  {"exit": pid, "status": …}
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from terway.lab.node import syscalls as sys_
from terway.lab.node.jail import Jail, enter

MAX_MESSAGE = 160 * 1024  # below the kernel's default socket buffer of 208 KiB
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1

Message = dict[str, Any]


class Spawner:
    """The init process's loop and what it remembers: the children that the daemon asked for."""

    def __init__(self, control: socket.socket, daemon_pid: int) -> None:
        self._control = control
        self._daemon_pid = daemon_pid
        self._children: set[int] = set()
        self._pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._ended = False

    def run(self) -> None:
        """Serve until the daemon ends, its socket closes or SIGTERM comes."""
        signal.set_wakeup_fd(self._wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._end)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        while not self._ended:
            ready = dict(poll.poll())
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
                self._reap()
            if self._control.fileno() in ready:
                self._serve_one()

    def _end(self, *_: object) -> None:
        self._ended = True

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._daemon_pid:
                self._ended = True
            elif pid in self._children:
                self._children.discard(pid)
                self._send({"exit": pid, "status": os.waitstatus_to_exitcode(status)})

    def _send(self, message: Message) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except OSError:
            self._ended = True

    def _serve_one(self) -> None:
        data, fds, _, _ = socket.recv_fds(self._control, MAX_MESSAGE, 3, socket.MSG_CMSG_CLOEXEC)
        if not data:
            self._ended = True
            return
        message: Message = json.loads(data)
        try:
            answer = self._perform(message, fds)
        except OSError as error:
            answer = {"error": str(error)}
        finally:
            for fd in fds:
                os.close(fd)
        self._send({"id": message["id"], **answer})

    def _perform(self, message: Message, fds: list[int]) -> Message:
        match message["op"]:
            case "run":
                return {"pid": self._run(message, fds)}
            case "sandbox":
                self._make_sandbox(message)
            case "kill":
                if message["pid"] in self._children:
                    os.kill(message["pid"], message["signal"])
            case unknown:
                raise OSError(f"unknown operation {unknown!r}")
        return {}

    def _run(self, message: Message, fds: list[int]) -> int:
        jail = Jail.parse(message["jail"]) if message["jail"] else None
        target = message["target"]
        if target is not None:
            target_ns = os.open(f"/proc/{target}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
            sys_.setns(target_ns, sys_.CLONE_NEWPID)
            os.close(target_ns)
        elif jail is not None and jail.own_pids:
            sys_.unshare(sys_.CLONE_NEWPID)
        try:
            pid = self._fork_and_wait(lambda: _become(message, fds, jail, target))
        finally:
            sys_.setns(self._pid_namespace, sys_.CLONE_NEWPID)
        self._children.add(pid)
        return pid

    def _make_sandbox(self, message: Message) -> None:
        pid = self._fork_and_wait(lambda: _pin_namespaces(message))
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)

    def _fork_and_wait(self, body: Callable[[], None]) -> int:
        """Fork, run `body` in the child, and return when it has exec'ed or ended.

        The child's error comes back over a pipe that exec closes; it is raised here.
        """
        read, write = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            os.close(read)
            _child(body, write)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            trouble = pipe.read()
        if trouble:
            os.waitpid(pid, 0)
            raise OSError(trouble.decode())
        return pid


def _child(body: Callable[[], None], error_pipe: int) -> NoReturn:
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        body()
    except BaseException as error:  # the child must not return into the parent's loop
        os.write(error_pipe, str(error).encode())
        os._exit(127)
    os._exit(0)


def _become(message: Message, fds: list[int], jail: Jail | None, target: int | None) -> None:
    sys_.die_with_parent(signal.SIGKILL)
    os.setsid()
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
    if target is not None:
        _enter_container(target)
    elif jail is not None:
        enter(jail)
    os.chdir(message["cwd"] or "/")
    # Python ignores these two for its own sake, and exec keeps ignored signals ignored.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    argv: list[str] = message["argv"]
    os.execvpe(argv[0], argv, message["env"])  # noqa: S606 (no shell is the point)


def _enter_container(pid: int) -> None:
    # Opened before the first is entered: /proc is the container's own afterwards.
    fds = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in ("net", "uts", "ipc", "mnt")]
    for fd in fds:
        sys_.setns(fd)
        os.close(fd)


def _pin_namespaces(message: Message) -> None:
    """Make a pod's namespaces and keep them as files: no pause process is needed."""
    sys_.unshare(sys_.CLONE_NEWNET | sys_.CLONE_NEWUTS | sys_.CLONE_NEWIPC)
    sys_.set_hostname(message["hostname"])
    raise_loopback()
    for kind in ("net", "uts", "ipc"):
        path = message[kind]
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o444))
        sys_.bind(f"/proc/self/ns/{kind}", path)


def raise_loopback() -> None:
    """Set lo up in this network namespace; it gets 127.0.0.1 and ::1 by itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh22x", b"lo", 0)
        answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, request)
        flags = struct.unpack("16sh22x", answer)[1]
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))
