"""How is terway-controlplane told what to do? By command line and environment, as upstream is."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from terway import __version__
from terway.cloud.metadata import BASE_URL
from terway.controlplane.log import LEVELS


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything from outside of the configuration files. Empty endpoints: the region's own."""

    config: Path
    credential: Path
    kubeconfig: Path | None  # None: the service account of the pod
    log_level: str
    holder: str  # this instance among others, for the lease; empty: made up
    ecs_endpoint: str
    vpc_endpoint: str
    slb_endpoint: str
    nlb_endpoint: str
    metadata_url: str


def parse_options(argv: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Return the options; exits as argparse does for bad flags."""
    args = _parser().parse_args(argv)
    kubeconfig = args.kubeconfig or environ.get("KUBECONFIG", "")
    return Options(
        config=Path(args.config),
        credential=Path(args.credential),
        kubeconfig=Path(kubeconfig) if kubeconfig else None,
        log_level=args.log_level,
        holder=environ.get("POD_NAME", ""),
        ecs_endpoint=environ.get("ECS_ENDPOINT", ""),
        vpc_endpoint=environ.get("VPC_ENDPOINT", ""),
        slb_endpoint=environ.get("SLB_ENDPOINT", ""),
        nlb_endpoint=environ.get("NLB_ENDPOINT", ""),
        metadata_url=environ.get("METADATA_ENDPOINT") or BASE_URL,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="terway-controlplane",
        description="Terway for the whole cluster: pools of nodes, interfaces of pods, balancers",
    )
    add = parser.add_argument
    add("--version", action="version", version=f"%(prog)s {__version__}")
    # The original is written in Go, where one dash does; its users' manifests have one.
    add(
        *("-config", "--config"),
        default="/etc/config/ctrl-config.yaml",
        help="the configuration, YAML or JSON",
    )
    add(
        *("-credential", "--credential"),
        default="/etc/credential/ctrl-secret.yaml",
        help="the access key, YAML or JSON; without the file the RAM role of the instance signs",
    )
    add(
        *("-kubeconfig", "--kubeconfig"),
        default="",
        help="a kubeconfig; without it KUBECONFIG, then the service account",
    )
    add("-log-level", "--log-level", default="info", choices=sorted(LEVELS))
    for name in ("feature-gates", "v"):
        add(f"-{name}", *([] if name == "v" else [f"--{name}"]), help="understood, without effect")
    return parser
