"""How terwayd is told what to do: command line and environment. The names are the original's."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from terway import __version__
from terway.agent.log import LEVELS
from terway.agent.paths import Paths, paths_under
from terway.cloud.metadata import BASE_URL
from terway.model.errors import UsageError
from terway.model.ids import NodeName

DAEMON_MODE = "ENIMultiIP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything from outside of the configuration file. Empty endpoints: the region's own."""

    paths: Paths
    log_level: str
    readonly_listen: str
    kubeconfig: Path | None  # None: the service account of the pod, if there is one
    kubernetes: bool
    node_name: NodeName
    namespace: str
    ecs_endpoint: str
    vpc_endpoint: str
    metadata_url: str
    is_uninstalling: bool = False
    is_preparing: bool = False
    root: Path = Path("/")  # where the host's file system begins
    cgroup: Path | None = None  # of the node's processes; None: the first of all


def parse_options(argv: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Return the options. Raises UsageError, and exits as argparse does for bad flags."""
    args = _parser().parse_args(argv)
    if args.daemon_mode != DAEMON_MODE:
        text = f"--daemon-mode {args.daemon_mode}: only {DAEMON_MODE} (shared ENIs) is there"
        raise UsageError(text, field="--daemon-mode")
    node_name = environ.get("NODE_NAME", "")
    if not node_name and not (args.no_kubernetes or args.uninstall or args.prepare):
        text = "NODE_NAME is not set: it names the Node object (or give --no-kubernetes)"
        raise UsageError(text, field="NODE_NAME")
    root = Path(args.root)
    paths = paths_under(root, config=args.config, run_dir=args.run_dir, state_dir=args.state_dir)
    kubeconfig = args.kubeconfig or environ.get("KUBECONFIG", "")
    cgroup = args.cgroup or environ.get("TERWAY_CGROUP", "")
    return Options(
        paths=paths,
        log_level=args.log_level,
        readonly_listen=args.readonly_listen or f"unix://{paths.run_dir}/eni_debug.socket",
        kubeconfig=Path(kubeconfig) if kubeconfig else None,
        kubernetes=not args.no_kubernetes,
        node_name=NodeName(node_name),
        namespace=environ.get("POD_NAMESPACE") or "kube-system",
        ecs_endpoint=environ.get("ECS_ENDPOINT", ""),
        vpc_endpoint=environ.get("VPC_ENDPOINT", ""),
        metadata_url=environ.get("METADATA_ENDPOINT") or BASE_URL,
        is_uninstalling=args.uninstall,
        is_preparing=args.prepare,
        root=root,
        cgroup=Path(cgroup) if cgroup else None,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="terwayd", description="the node daemon of Terway: pods get addresses of the VPC"
    )
    add = parser.add_argument
    add("--version", action="version", version=f"%(prog)s {__version__}")
    # The original is written in Go, where one dash does; its users' manifests have one.
    add("-config", "--config", default="/etc/eni/eni_conf", help="the file eni_conf of eni-config")
    add("-daemon-mode", "--daemon-mode", default=DAEMON_MODE, help=f"only {DAEMON_MODE} is there")
    add("-log-level", "--log-level", default="info", choices=sorted(LEVELS))
    add(
        *("-readonly-listen", "--readonly-listen"),
        default="",
        help="unix:///path or tcp://host:port, for health, metrics and state",
    )
    add(
        *("-kubeconfig", "--kubeconfig"),
        default="",
        help="a kubeconfig; without it KUBECONFIG, then the service account",
    )
    add("--no-kubernetes", action="store_true", help="serve without an API server")
    add("--cgroup", default="", help="the cgroup2 of the node's processes; else the first of all")
    add(
        "--uninstall",
        action="store_true",
        help="take programs, pins, queues and tables out of the kernel, and end; pods go on",
    )
    add(
        "--prepare",
        action="store_true",
        help="check the configuration, make the host ready and put the plugin there, and end",
    )
    add("--root", default="/", help="where the host's file system begins")
    add("--run-dir", default="/var/run/eni", help="the folder of sockets and lock")
    add("--state-dir", default="/var/lib/cni/terway", help="the folder of journal and notes")
    return parser
