"""One process that compiles a big cluster and prints what it took: `… node` or `… everybody`."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterable, Iterator

from bench.policy_cluster import Big, big_cluster, one_more_pod, one_more_policy
from bench.policy_compile import ADD_POD_MS, ADD_POLICY_MS, COMPILE_ALL_S, COMPILE_MB, COMPILE_S
from terway.model.address import Family, IPAddress, IPPair, family_of
from terway.model.ids import NodeName
from terway.policy.changes import (
    Attach,
    ClusterChange,
    Detach,
    DropPod,
    DropPolicy,
    SetNamespace,
    SetNode,
    SetPod,
    SetPolicy,
)
from terway.policy.cluster import Pod
from terway.policy.compiling.compiler import Compiler

NODE = NodeName("node-1")
TRIES = 1000


def main() -> None:
    """Measure the view that the command line names, and print the figures as JSON."""
    figures = _everybody() if sys.argv[1] == "everybody" else _node()
    print(json.dumps(figures))


def _everybody() -> dict[str, float]:
    big = big_cluster(pods=100_000, policies=75_000)
    return {COMPILE_ALL_S: _seconds(Compiler(None, everybody=True), _changes(big))}


def _node() -> dict[str, float]:
    big = big_cluster(pods=10_000, policies=5_000)
    held = [pod for pod in big.cluster.pods.values() if pod.node == NODE]
    compiler = Compiler(NODE)
    compile_s = _seconds(compiler, (*_changes(big), *(_attach(pod) for pod in held)))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        COMPILE_S: compile_s,
        COMPILE_MB: peak_mb,
        ADD_POD_MS: _p99_ms(_add_pods(compiler, big)),
        ADD_POLICY_MS: _p99_ms(_add_policies(compiler, held)),
    }


def _changes(big: Big) -> Iterator[ClusterChange]:
    yield from (SetNamespace(namespace=one) for one in big.cluster.namespaces.values())
    yield from (SetNode(node=one) for one in big.cluster.nodes.values())
    yield from (SetPod(pod=one) for one in big.cluster.pods.values())
    yield from (SetPolicy(policy=one) for one in big.policies)


def _attach(pod: Pod) -> Attach:
    of: dict[Family, IPAddress] = {family_of(address): address for address in pod.addresses}
    return Attach(key=pod.key, addresses=IPPair(v4=of.get(Family.V4), v6=of.get(Family.V6)))  # type: ignore[arg-type]  # by family


def _seconds(compiler: Compiler, changes: Iterable[ClusterChange]) -> float:
    began = time.process_time()
    compiler.apply(changes)
    return time.process_time() - began


def _add_pods(compiler: Compiler, big: Big) -> Iterator[float]:
    """One in ten comes to this node, as when every node gets its share of a roll-out."""
    for number in range(TRIES):
        pod = one_more_pod(big, number, NODE if number % 10 == 0 else NodeName("node-2"))
        if pod.node == NODE:
            yield _seconds(compiler, [SetPod(pod=pod), _attach(pod)])
            compiler.apply([DropPod(key=pod.key), Detach(key=pod.key)])
        else:
            yield _seconds(compiler, [SetPod(pod=pod)])
            compiler.apply([DropPod(key=pod.key)])


def _add_policies(compiler: Compiler, held: list[Pod]) -> Iterator[float]:
    """All of them select pods of this node."""
    for number in range(TRIES):
        policy = one_more_policy(held[number % len(held)].key.namespace, number)
        yield _seconds(compiler, [SetPolicy(policy=policy)])
        compiler.apply([DropPolicy(key=policy.key)])


def _p99_ms(seconds: Iterable[float]) -> float:
    ascending = sorted(seconds)
    return ascending[len(ascending) * 99 // 100] * 1000


if __name__ == "__main__":
    main()
