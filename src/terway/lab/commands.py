"""What can be asked of terway-lab on the command line?"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import click

from terway import __version__
from terway.config.choices import VirtualType
from terway.lab.node.filesystem import ADMIN_KUBECONFIG, folder_on_both
from terway.lab.world.client import LabClient, quoted, start_lab
from terway.lab.world.paths import list_labs, sweep
from terway.lab.world.plan import EXCLUSIVE_LABELS, METADATA, OPENAPI, LabPlan, NodePool
from terway.model.address import IPStack
from terway.model.errors import UsageError, VpcError

_NAME = click.option(
    "--name", default="lab", envvar="TERWAY_LAB", show_default=True, help="Which lab."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Everything, for programs.")
# What follows the first word belongs to the other program, its options and "--" included.
_PASS_ON = {"ignore_unknown_options": True, "allow_interspersed_args": False}
# Who enters a node is in its root; a folder that was mounted since is not there.
_IN_FOLDER = 'cd "$1" 2>/dev/null || cd /tmp; shift; exec "$@"'
_STACKS = click.Choice([IPStack.IPV4.value, IPStack.DUAL.value])

_PORTMAP = Path("/usr/lib/cni/portmap")


class _Commands(click.Group):
    """Commands whose errors are a line, not a traceback.

    The groups `faults` and `policy` are loaded when they are named: they bring much along.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "faults", "policy"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "faults":
            from terway.lab.faults.commands import faults

            return faults
        if cmd_name == "policy":
            from terway.lab.policy.commands import policy

            return policy
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except VpcError as error:
            raise click.ClickException(str(error)) from error


_TRUNK: dict[str, object] = {"enable_eni_trunking": True}


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="terway-lab")
def cli() -> None:
    """A VPC on one machine: an emulated cloud, real packets, Kubernetes nodes."""


@cli.command()
@_NAME
@click.option("--nodes", default=3, show_default=True, type=click.IntRange(0, 64))
@click.option("--instance-type", default=LabPlan().instance_type, show_default=True)
@click.option("--stack", type=_STACKS, default=IPStack.DUAL.value, show_default=True)
@click.option(
    "--kubeconfig",
    default="",
    help="Use this API server, not the embedded one; `down` takes Nodes and eni-config out again.",
)
@click.option("--cloud-only", is_flag=True, help="Cloud and VPC, without Kubernetes nodes.")
@click.option(
    "--exclusive",
    default=0,
    type=click.IntRange(0, 64),
    help="More nodes, eni-1 and on, whose pods have an ENI each.",
)
@click.option(
    "--exclusive-type", default=NodePool(name="eni", nodes=0).instance_type, show_default=True
)
@click.option(
    "--datapath",
    type=click.Choice([one.value for one in VirtualType]),
    default=VirtualType.VETH.value,
    show_default=True,
    help="How pods get at a shared ENI: eniip_virtual_type.",
)
@click.option("--host-ports", is_flag=True, help="Chain Debian's portmap: hostPort works.")
@click.option(
    "--control-plane",
    is_flag=True,
    help="With terway-controlplane: fixed IPs, trunk ENIs, load balancers.",
)
@click.option("--no-agent", is_flag=True, help="Nodes without terwayd, for another CNI plugin.")
def up(name: str, **options: Any) -> None:
    """Bring a lab up and leave it running."""
    _check_kubeconfig(options["kubeconfig"])
    plan = LabPlan(
        name=name,
        nodes=0 if options["cloud_only"] else options["nodes"],
        instance_type=options["instance_type"],
        stack=IPStack(options["stack"]),
        kubeconfig=os.path.abspath(options["kubeconfig"]) if options["kubeconfig"] else "",
        agent=not options["no_agent"],
        cloud_only=options["cloud_only"],
        pools=_exclusive_pool(options),
        chained=_chained(host_ports=options["host_ports"]),
        cni={"eniip_virtual_type": options["datapath"]},
        control_plane=options["control_plane"],
        eni_conf=_TRUNK if options["control_plane"] else {},
    )
    began = time.monotonic()
    start_lab(plan, lambda text: click.echo(f"  {text}"))
    click.echo(f"lab {name!r} is up after {time.monotonic() - began:.1f} s")
    _print_next_steps(plan)


def _exclusive_pool(options: dict[str, Any]) -> tuple[NodePool, ...]:
    """Return the kind of node whose pods have an ENI each; some may be added later."""
    if options["cloud_only"]:
        return ()
    return (
        NodePool(
            name="eni",
            nodes=options["exclusive"],
            instance_type=options["exclusive_type"],
            labels=EXCLUSIVE_LABELS,
        ),
    )


def _chained(*, host_ports: bool) -> tuple[dict[str, object], ...]:
    """Return the plugins after ours. Raises UsageError for one that is not installed."""
    if not host_ports:
        return ()
    if not _PORTMAP.exists():
        raise UsageError(f"{_PORTMAP} is not there: apt install containernetworking-plugins")
    return ({"type": "portmap", "capabilities": {"portMappings": True}},)


@cli.command()
@_NAME
def down(name: str) -> None:
    """End a lab and all that is in it."""
    was_alive = LabClient(name).down()
    click.echo(f"lab {name!r} is down" if was_alive else f"lab {name!r} was not running")


@cli.command()
@_NAME
@_JSON
def status(name: str, as_json: bool) -> None:
    """Show nodes, ENIs and pods of a lab."""
    facts = LabClient(name).status()
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    from terway.lab.demo.summary import summary_lines

    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in summary_lines(facts, columns=columns):
        click.echo(line)
    ends = facts["endpoints"]
    click.echo(f"OpenAPI     {ends['openapi']}")
    click.echo(f"access key  {ends['access_key_id']} {ends['access_key_secret']}")
    click.echo(f"kubeconfig  {ends['kubeconfig']}")


@cli.command("list")
@_JSON
def list_command(as_json: bool) -> None:
    """List the labs that run; sweep away what dead ones left."""
    from terway.lab.listing import lab_facts, lab_lines

    for dead in sweep():
        click.echo(f"lab {dead!r} was dead: swept away", err=True)
    found = [lab_facts(one) for one in list_labs()]
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(lab_lines(found)))


@cli.command()
@_NAME
@_JSON
def nodes(name: str, as_json: bool) -> None:
    """List the nodes of a lab."""
    from terway.lab.listing import node_lines

    found = LabClient(name).status()["nodes"]
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(node_lines(found)))


@cli.command(context_settings={**_PASS_ON, "help_option_names": []})
@_NAME
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def kubectl(name: str, arguments: tuple[str, ...]) -> None:
    """Run kubectl against a lab; without arguments, print how to point one's own there."""
    if arguments in {("-h",), ("--help",)}:  # kubectl's own is at: terway-lab kubectl help
        click.echo(click.get_current_context().get_help())
        return
    path = LabClient(name).status()["endpoints"]["kubeconfig"]
    if not arguments:
        click.echo(f"export KUBECONFIG={path}")
        return
    _become(["kubectl", f"--kubeconfig={path}", *arguments])


@cli.command("exec", context_settings=_PASS_ON)
@_NAME
@click.argument("target", metavar="NODE|NAMESPACE/POD")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def exec_command(name: str, target: str, command: tuple[str, ...]) -> None:
    """Run a command on a node or in a pod; without one, a shell."""
    _become([*LabClient(name).words(target), *(command or ("/bin/sh",))])


@cli.command("run", context_settings=_PASS_ON)
@_NAME
@click.argument("node")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
def run_command(name: str, node: str, command: tuple[str, ...]) -> None:
    """Run one of Terway's own tools on a node, with the lab's keys in its environment.

    It asks the API server as the lab's administrator: a person runs it, not terwayd.

    terway-lab run node-1 terway-cli why default/web 192.168.32.7:80

    It runs in the folder that you are in, and what it writes there is yours. Below /etc, /opt, /run
    and /var, which are the node's own, it runs in /tmp instead; fetch a file from there by
    `terway-lab exec NODE cat FILE > FILE`.
    """
    lab = LabClient(name)
    pairs = _tool_environment(node, lab.status()["endpoints"])
    words = command[1:] if command[0] == "--" else command
    here = ("sh", "-c", _IN_FOLDER, "sh", str(folder_on_both(Path.cwd())))
    settings = (f"{key}={one}" for key, one in pairs.items())
    _become([*lab.words(node), "env", *settings, *here, *words])


def _tool_environment(node: str, ends: dict[str, str]) -> dict[str, str]:
    """Return what a tool is told, so that it needs no terwayd to find the lab's services."""
    return {
        "NODE_NAME": node,
        "KUBECONFIG": str(ADMIN_KUBECONFIG),
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        "ECS_ENDPOINT": f"http://{OPENAPI}",
        "VPC_ENDPOINT": f"http://{OPENAPI}",
        "METADATA_ENDPOINT": f"http://{METADATA}",
        "ALIBABA_CLOUD_ACCESS_KEY_ID": ends["access_key_id"],
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": ends["access_key_secret"],
    }


@cli.command("add-node")
@_NAME
@click.argument("node", required=False)
def add_node(name: str, node: str | None) -> None:
    """Add a node and wait until it is Ready (without an agent: until it is registered)."""
    added = LabClient(name).request("POST", "/nodes", {"name": node})
    click.echo(f"{added['name']} is {'Ready' if added['ready'] else 'registered'}")


@cli.command("remove-node")
@_NAME
@click.argument("node")
def remove_node(name: str, node: str) -> None:
    """Delete a node, its instance and its ENIs."""
    LabClient(name).request("DELETE", f"/nodes/{quoted(node)}")
    click.echo(f"{node} is gone")


@cli.command("restart-agent")
@_NAME
@click.option("--kill", is_flag=True, help="SIGKILL, as a crash would end it.")
@click.argument("node")
def restart_agent(name: str, node: str, kill: bool) -> None:
    """Restart terwayd on a node."""
    answer = LabClient(name).request("POST", f"/nodes/{quoted(node)}/agent", {"kill": kill})
    click.echo(f"terwayd on {node} serves again, process {answer['agent_pid']} of the node")


@cli.command("attach-instance")
@_NAME
@click.option("--instance", default="", help="Its name; that of the namespace by default.")
@click.argument("netns", metavar="NETNS")
def attach_instance(name: str, instance: str, netns: str) -> None:
    """Make an existing network namespace an ECS instance of the lab's VPC.

    NETNS is a path, or a name that `ip netns` lists.
    """
    from terway.lab.world.namespaces import find_netns

    # Handed over open: the lab's process may not see a mount that was made after its start.
    fd = os.open(find_netns(netns), os.O_RDONLY)
    held = f"/proc/{os.getpid()}/fd/{fd}"
    wanted = {"name": instance or os.path.basename(netns), "netns": held}
    try:
        answer = LabClient(name).request("POST", "/instances", wanted)
    except UsageError as error:
        raise UsageError(f"{netns}: {error}") from error
    click.echo(f"{answer['instance_id']} with eth0 at {', '.join(answer['addresses'])}")


@cli.command("detach-instance")
@_NAME
@click.argument("instance")
def detach_instance(name: str, instance: str) -> None:
    """Delete an attached instance; its namespace stays."""
    LabClient(name).request("DELETE", f"/instances/{quoted(instance)}")
    click.echo(f"{instance} is detached")


@cli.command()
@click.option("--name", default="", help="Which lab; the first free of demo, demo-2, …")
@click.option("--keep", is_flag=True, help="Leave the lab up, and say what to try next.")
@click.option("--nodes", default=3, show_default=True, type=click.IntRange(2, 16))
def demo(name: str, keep: bool, nodes: int) -> None:
    """A VPC with nodes, an application on it, and its traffic measured."""
    from terway.lab.demo.run import free_name, run_demo

    plan = LabPlan(name=name or free_name(), nodes=nodes, control_plane=True, eni_conf=_TRUNK)
    sys.exit(run_demo(plan, keep=keep))


def _become(words: list[str]) -> None:
    try:
        os.execvp(words[0], words)  # noqa: S606 (the user's terminal goes to the command)
    except FileNotFoundError as error:
        raise UsageError(f"{words[0]} is not installed") from error


def _check_kubeconfig(path: str) -> None:
    """Refuse a file that is no kubeconfig before anything is built."""
    if path:
        from terway.kube.connection import read_kubeconfig

        read_kubeconfig(Path(path))


def _print_next_steps(plan: LabPlan) -> None:
    suffix = "" if plan.name == "lab" else f" --name {plan.name}"
    if plan.nodes:
        tries = [f"kubectl{suffix} get pods -A -o wide", f"exec{suffix} node-1 ip address"]
    elif plan.cloud_only:
        tries = [f"attach-instance{suffix} /run/netns/NAME"]
    else:
        tries = [f"add-node{suffix}"]
    for line in (f"status{suffix}", *tries, f"down{suffix}"):
        click.echo(f"  terway-lab {line}")
