"""What doctor finds of policies, from what terwayd, kernel and API say of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terway.cli.doctor import doctor_lines, examine
from terway.cli.finding import Finding, Severity
from terway.cli.read_policy import agent_of, others_of
from terway.cli.snapshot import KubeNode
from terway.cli.snapshot_policy import (
    PolicyAgent,
    PolicyApi,
    PolicyDifference,
    PolicyTold,
    PolicyView,
)
from terway.linux.nft_chains import NftChain
from tests.support.snapshots import healthy

CLOSED = "NetworkPolicy default/closed"
AGENT = PolicyAgent(is_synced=True, age_s=2.0, adoptions=1, restricted_pods=1)
TOLD = PolicyTold(policy=CLOSED, generation=1, pods=1, in_force=True)
API = PolicyApi(generations={CLOSED: 1}, told=(TOLD,))
WELL = PolicyView(is_wanted=True, has_table=True, agent=AGENT, api=API)


def found(view: PolicyView) -> tuple[Finding, ...]:
    return examine(replace(healthy(), policy=view))


def test_policies_that_are_in_force_are_no_finding() -> None:
    assert found(WELL) == ()


@pytest.mark.parametrize(
    ("view", "severity", "what"),
    [
        (
            replace(WELL, has_table=False),
            Severity.ERROR,
            "table inet terway_policy of nftables is missing",
        ),
        (
            replace(WELL, agent=None, has_table=False),
            Severity.ERROR,
            "table inet terway_policy of nftables is missing",
        ),
        (
            replace(
                WELL, agent=None, differences=(PolicyDifference(where="inside pod x/y", text="t"),)
            ),
            Severity.ERROR,
            "inside pod x/y: rules in the kernel are not as policies say",
        ),
        (
            replace(WELL, agent=None, failure="no API"),
            Severity.WARNING,
            "nobody compares the kernel with the policies",
        ),
        (
            replace(WELL, agent=replace(AGENT, trouble="ENOSPC")),
            Severity.ERROR,
            "not all policies are in force on this node",
        ),
        (
            replace(WELL, agent=replace(AGENT, is_synced=False)),
            Severity.ERROR,
            "terwayd does not hear of policies",
        ),
        (
            replace(WELL, agent=replace(AGENT, differences=("forward: one rule more",))),
            Severity.ERROR,
            "the kernel was not as policies say",
        ),
        (
            replace(WELL, agent=replace(AGENT, failure="EIO")),
            Severity.WARNING,
            "terwayd cannot read its rules back",
        ),
        (
            replace(WELL, agent=replace(AGENT, adoptions=9)),
            Severity.WARNING,
            "somebody changes table inet terway_policy",
        ),
        (
            replace(WELL, agent=replace(AGENT, faults={CLOSED: "no such field"})),
            Severity.WARNING,
            f"{CLOSED} cannot be read",
        ),
        (
            replace(WELL, api=replace(API, told=(replace(TOLD, message="a domain name"),))),
            Severity.NOTE,
            f"{CLOSED} is not enforced to the letter",
        ),
        (
            replace(WELL, api=replace(API, generations={CLOSED: 2})),
            Severity.WARNING,
            "policies have changed and are not in force yet",
        ),
        (
            replace(WELL, api=replace(API, quiet_nodes=("n9",))),
            Severity.NOTE,
            "nodes that say nothing of policies",
        ),
        (
            replace(WELL, is_wanted=False, has_table=False, agent=None),
            Severity.WARNING,
            "NetworkPolicy is off on this node",
        ),
        (
            PolicyView(is_wanted=False, has_table=True),
            Severity.ERROR,
            "table inet terway_policy is left over",
        ),
        (
            replace(WELL, others=("Calico",)),
            Severity.WARNING,
            "Calico has rules of its own on this node",
        ),
    ],
)
def test_each_trouble_of_policies_is_one_finding_with_a_remedy(
    view: PolicyView, severity: Severity, what: str
) -> None:
    (one,) = found(view)

    assert (one.severity, one.what) == (severity, what)
    assert one.why
    assert one.command
    assert max(map(len, doctor_lines([one]))) <= 80


def test_what_terwayd_says_of_policies_is_not_said_again_for_the_nodes_condition() -> None:
    there = healthy()
    assert there.kubernetes is not None
    said = "NetworkPolicyInForce=False: ENOSPC"
    nodes = tuple(
        replace(one, conditions=(said,)) if one.name == there.node_name else one
        for one in there.kubernetes.nodes
    )
    assert any(isinstance(one, KubeNode) and one.conditions for one in nodes)
    trouble = replace(WELL, agent=replace(AGENT, trouble="ENOSPC"))

    seen = examine(
        replace(there, policy=trouble, kubernetes=replace(there.kubernetes, nodes=nodes))
    )

    assert [one.what for one in seen] == ["not all policies are in force on this node"]


def test_other_engines_are_known_by_their_chains() -> None:
    names = ("FORWARD", "cali-FORWARD", "KUBE-ROUTER-INPUT", "KUBE-SERVICES", "cali1234")
    chains = [NftChain(family="ip", table="filter", name=name) for name in names]
    ours = NftChain(family="inet", table="terway_policy", name="forward")

    assert list(others_of([*chains, ours])) == ["Calico", "kube-router"]
    assert list(others_of([ours])) == []


def test_terwayds_page_is_read_whatever_is_missing_of_it() -> None:
    page = {
        "synced": True,
        "not_followed": ["pods: 403"],
        "policies": [{"policy": CLOSED, "fault": "bad"}, {"policy": "other", "fault": ""}],
        "in_force": {"trouble": "", "adoptions": 2, "restricted_pods": 3},
        "verify": {"age_s": 1.5, "differences": ["d"], "error": ""},
    }

    assert agent_of(page) == PolicyAgent(
        is_synced=True,
        silent=("pods: 403",),
        differences=("d",),
        age_s=1.5,
        adoptions=2,
        restricted_pods=3,
        faults={CLOSED: "bad"},
    )
    assert agent_of({}) == PolicyAgent(is_synced=False)
