"""How does a node come into being? Namespaces, file system, init, and the node's daemon.

    lab server ─spawn─► launcher ─unshare, fork─► init (PID 1 of the node) ─fork, exec─► daemon
                           │ waits                  │ spawner: starts and reaps          │ kubelet,
                           └ dies with the server   └ dies with the launcher, and with   └ keeps
                                                      it every process of the node        terwayd up

The launcher tells the server init's process id; the fabric then finds the node's network
namespace as /proc/<pid>/ns/net, so that no mount is ever made in the machine's own namespace.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

from terway.lab.node import cgroup
from terway.lab.node import syscalls as sys_
from terway.lab.node.filesystem import build
from terway.lab.node.spawner import Spawner, raise_loopback
from terway.lab.node.spec import NodeSpec

NODE_NAMESPACES = (
    sys_.CLONE_NEWNET | sys_.CLONE_NEWNS | sys_.CLONE_NEWUTS | sys_.CLONE_NEWIPC | sys_.CLONE_NEWPID
)


def main(argv: list[str] | None = None) -> NoReturn:
    """Run a node until it ends: ``terway-lab node SPEC_FILE CONTROL_FD PARENT_PID``."""
    spec_file, control_fd, parent = (argv if argv is not None else sys.argv[1:])[:3]
    sys_.die_with_parent(signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit(1)  # the server died before the line above; nobody would ever end us
    spec = NodeSpec.from_json(Path(spec_file).read_text())
    control = socket.socket(fileno=int(control_fd))
    sys_.unshare(NODE_NAMESPACES)
    launcher = os.getpid()
    pid = os.fork()
    if pid == 0:
        _init(spec, spec_file, control, launcher)
    control.send(json.dumps({"event": "init", "pid": pid}).encode() + b"\n")
    control.close()
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGKILL))
    _, status = os.waitpid(pid, 0)
    cgroup.leave(spec, launcher)
    sys.exit(0 if os.waitstatus_to_exitcode(status) in {0, -signal.SIGKILL} else 1)


def _init(spec: NodeSpec, spec_file: str, control: socket.socket, launcher: int) -> NoReturn:
    status = 1
    try:
        sys_.die_with_parent(signal.SIGKILL)
        sys_.set_hostname(spec.name)
        raise_loopback()
        cgroup.enter(spec, launcher)
        text = Path(spec_file).read_text()
        build(spec)
        Path("/run/terway-lab/node.json").write_text(text)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        daemon = _start_daemon(control, theirs, unwanted=ours)
        control.close()
        theirs.close()
        Spawner(ours, daemon).run()
        status = 0
    except Exception as error:  # a half-made node cannot be used: say why, and end it
        sys.stderr.write(f"node {spec.name}: {error}\n")
    finally:
        sys.stderr.flush()
        os._exit(status)


def _start_daemon(
    control: socket.socket, spawner: socket.socket, *, unwanted: socket.socket
) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        sys_.die_with_parent(signal.SIGKILL)
        unwanted.close()
        for sock in (control, spawner):
            sock.set_inheritable(True)
        fds = (str(control.fileno()), str(spawner.fileno()))
        os.execv(sys.executable, [sys.executable, "-m", "terway.lab.node", *fds])  # noqa: S606 (no shell is the point)
    finally:
        os._exit(127)


if __name__ == "__main__":
    main()
