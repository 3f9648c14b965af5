"""terway-cli drops: what each pod lost, and to whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terway.cli.drops import Drop, drop_lines, drops_of
from terway.cli.snapshot import GuardLoss, QueueView, Snapshot
from terway.cli.snapshot_ebpf import DataPathView, LossView
from terway.cli.table import WIDTH
from terway.model.endpoint import endpoint_number
from terway.model.errors import TransientError
from tests.support.snapshots import PODS, healthy

SPOOFED = GuardLoss(reason="source-address", meaning="the source is not the pod's", packets=3)
QUEUE = QueueView(link="cali1", is_in_pod=False, dropped=12, waiting=0)


def loss(endpoint: int, packets: int, reason: str = "policy-egress") -> LossView:
    meaning = "the sender's policies do not allow it"
    return LossView(
        endpoint=endpoint, reason=reason, meaning=meaning, packets=packets, bytes=60 * packets
    )


def lossy() -> Snapshot:
    snapshot = healthy()
    assert snapshot.kernel is not None
    first, *others = snapshot.kernel.pods
    lost = replace(first, guard_losses=(SPOOFED,), queues=(QUEUE,))
    number = endpoint_number(PODS["a"].key)
    losses = (loss(0, 1, "malformed"), loss(5, 2, "ttl"), loss(number, 4000))
    return replace(
        snapshot,
        kernel=replace(snapshot.kernel, pods=(lost, *others)),
        ebpf=DataPathView(layout=1, losses=losses),
    )


def test_losses_are_told_by_pod_whoever_counted_them():
    found = {(one.pod, one.by, one.reason): one.packets for one in drops_of(lossy())}

    assert found == {
        ("default/a", "guard", "source-address"): 3,
        ("default/a", "limit", "ingress"): 12,
        ("default/a", "data path", "policy-egress"): 4000,
        ("(gone)", "data path", "ttl"): 2,
        ("(no pod)", "data path", "malformed"): 1,
    }


def test_a_person_reads_a_table_and_what_its_reasons_mean():
    lines = list(drop_lines(drops_of(lossy())))

    assert lines[0].split() == ["POD", "BY", "REASON", "PACKETS"]
    assert any(line.split()[-2:] == ["policy-egress", "4,000"] for line in lines)
    assert "policy-egress (data path): the sender's policies do not allow it" in lines
    assert all(len(line) <= WIDTH for line in lines)


def test_a_node_that_lost_nothing_says_so():
    assert list(drop_lines(drops_of(healthy()))) == ["nothing was lost"]


def test_a_name_that_is_too_long_gives_way_and_the_number_does_not():
    drop = Drop(pod="n" * 90, by="guard", reason="nd", meaning="", packets=1_234_567)

    assert "1,234,567" in list(drop_lines([drop]))[1]


def test_without_the_kernel_nothing_is_known():
    with pytest.raises(TransientError):
        list(drops_of(replace(healthy(), kernel=None)))
