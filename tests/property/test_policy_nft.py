"""Whatever the cluster, the policies and their history: the rules of nftables say the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terway.linux.netns import fresh_netns
from terway.linux.nfnetlink.tables import open_nft_socket
from terway.model.errors import UsageError
from terway.model.nft import Table, Transactions
from terway.policy.changes import ClusterChange
from terway.policy.cluster import PodKey, Protocol
from terway.policy.compiling.compiler import Compiler
from terway.policy.evaluate import evaluate
from terway.policy.flow import Flow, PodEnd
from terway.policy.nft.answers import NftAnswers
from terway.policy.nft.lift import lift
from terway.policy.nft.names import TABLE
from terway.policy.nft.paper import PaperKernel
from terway.policy.nft.printer import Printer
from terway.policy.nft.skeleton import Place
from terway.policy.nft.verify import verify
from tests.support.policy_histories import histories
from tests.support.policy_worlds import flows, worlds
from tests.support.small_clusters import HERE

_FEW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
_SAMPLE = settings(_FEW, max_examples=15)


@given(st.data())
@_FEW
def test_the_rules_answer_as_the_model_does(data):
    world = data.draw(worlds())
    answers = NftAnswers(world.cluster, world.policies)
    for flow in data.draw(st.lists(flows(world), min_size=10, max_size=30)):
        try:
            wanted = evaluate(world.cluster, world.policies, flow).is_allowed
        except UsageError:
            with pytest.raises(UsageError):
                answers.allowed(flow)
        else:
            assert answers.allowed(flow) is wanted, flow


@given(worlds(), st.sampled_from(Protocol), st.integers(1, 5))
@_FEW
def test_a_pod_meets_itself_by_a_service_as_cluster_policies_say(world, protocol, port):
    answers = NftAnswers(world.cluster, world.policies)
    for key in world.cluster.pods:
        pod = PodEnd(pod=key)
        flow = Flow(source=pod, destination=pod, protocol=protocol, port=port, via_service=True)
        try:
            wanted = evaluate(world.cluster, world.policies, flow).is_allowed
        except UsageError:
            continue  # it has no address, or another one has it now
        assert answers.allowed(flow) is wanted, flow


@given(histories(), st.sampled_from([1, 3, 256]), st.randoms(use_true_random=False))
@_FEW
def test_after_every_change_the_table_says_what_was_compiled(history, share_from, random):
    """The kernel on paper refuses what the kernel refuses, and each change ends as a fresh one."""
    kernel = PaperKernel()

    _follow(history, share_from, random, kernel.change, lambda: kernel.read(TABLE))


@pytest.mark.root
@given(histories(), st.sampled_from([1, 3, 256]), st.randoms(use_true_random=False))
@_SAMPLE
def test_the_kernel_holds_what_was_compiled_after_every_change(history, share_from, random):
    with fresh_netns(), open_nft_socket() as sock:
        _follow(
            history,
            share_from,
            random,
            lambda transactions: sock.change(TABLE, transactions),
            lambda: sock.read(TABLE),
        )


def _follow(
    history: Sequence[Sequence[ClusterChange]],
    share_from: int,
    random: Random,
    carry_out: Callable[[Transactions], None],
    read: Callable[[], Table | None],
) -> None:
    compiler = Compiler(HERE)
    printer = Printer(Place.NODE, share_from=share_from)
    hooks: dict[PodKey, str] = {}
    carry_out(printer.adopt(compiler.compiled(), hooks, read()))
    for batch in history:
        change = compiler.apply(batch)
        wish = compiler.compiled()
        hooks = {
            pod: f"cali{pod.namespace}{pod.name}" for pod in wish.sides if random.random() < 0.9
        }
        if random.random() < 0.1:
            carry_out(printer.adopt(wish, hooks, read()))
        else:
            carry_out(printer.change(change, hooks))
        assert verify(Place.NODE, wish, hooks, lift(Place.NODE, read())) == ()
