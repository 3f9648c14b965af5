"""Which terwayd is this node's, where nodes of a lab run on the same machine?"""

from __future__ import annotations

from pathlib import Path

from terway.cli.place import find_agents, find_guests, read_agent_environment

OURS, THEIRS = "net:[1]", "net:[2]"


def process(proc: Path, name: str, network: str, argv: str, **environ: str) -> None:
    folder = proc / name
    (folder / "ns").mkdir(parents=True)
    (folder / "ns/net").symlink_to(network)
    (folder / "cmdline").write_bytes("\0".join(argv.split()).encode())
    pairs = "\0".join(f"{key}={one}" for key, one in environ.items())
    (folder / "environ").write_bytes(pairs.encode())


def test_terwayd_of_another_network_does_not_say_which_node_this_is(tmp_path: Path) -> None:
    process(tmp_path, "self", OURS, "terway-cli show")
    process(tmp_path, "12", THEIRS, "python3 -m terway.agent.main", NODE_NAME="node-2")
    process(tmp_path, "13", OURS, "sleep 1", NODE_NAME="nobody")

    assert read_agent_environment(tmp_path) == {}
    assert list(find_agents(tmp_path)) == []
    assert find_guests(tmp_path) == ("node-2",)


def test_terwayd_of_the_same_network_does(tmp_path: Path) -> None:
    process(tmp_path, "self", OURS, "terway-cli show")
    process(tmp_path, "12", THEIRS, "terwayd", NODE_NAME="node-2")
    process(tmp_path, "14", OURS, "/usr/bin/terwayd", NODE_NAME="node-1", HOME="/")

    assert read_agent_environment(tmp_path) == {"NODE_NAME": "node-1"}
    assert list(find_agents(tmp_path)) == [14]
