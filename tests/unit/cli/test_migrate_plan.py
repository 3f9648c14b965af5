"""A plan of migration says in order what changes, what is risked, and what cannot be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terway.cli.migrate_carried import Carried
from terway.cli.migrate_plan import State, plan_migration
from terway.cli.migrate_text import plan_lines
from terway.cli.migrate_world import ClusterWorld, NodeWorld, PodFate, Workload, World
from terway.cli.table import WIDTH
from terway.datapath.takeover import Outcome

ENI_CONF = (
    '{"vswitches":{"cn-hangzhou-i":["vsw-1"]},"security_group":"sg-1",'
    '"service_cidr":"172.16.0.0/16","max_pool_size":5}'
)
CONFIG = {
    "eni_conf": ENI_CONF,
    "10-terway.conf": '{"cniVersion":"0.4.0","name":"terway","type":"terway"}',
    "disable_network_policy": "true",
}
NODE = NodeWorld(
    name="node-1",
    config=CONFIG,
    records=3,
    is_running=True,
    fates=(
        PodFate(pod="default/web-0", outcome=Outcome.TAKEN),
        PodFate(pod="default/web-1", outcome=Outcome.TAKEN),
        PodFate(
            pod="default/fast",
            outcome=Outcome.LEFT_ALONE,
            why="cali1234 has eBPF programs of datapathv2, with its connections in them",
        ),
    ),
    capabilities={"datapath": "datapathv2", "cni_ipv6_stack": "false"},
    links=("cilium_net", "cilium_host"),
    remains=("cilium: pinned: /sys/fs/bpf/cilium",),
    conflist="terway-chainer",
)
CLUSTER = ClusterWorld(
    workloads=(
        Workload(
            kind="DaemonSet",
            namespace="kube-system",
            name="terway-eniip",
            image="registry/terway:v1.17.5",
            is_ours=False,
        ),
        Workload(
            kind="Deployment",
            namespace="kube-system",
            name="terway-controlplane",
            image="registry/terway-controlplane:v1.17.5",
            is_ours=False,
        ),
    ),
    crds={"podenis": "v0.4.2", "nodes": "v0.10.0"},
    carried=(
        Carried(kind="PodENI", count=2, said=("PodENI default/db-0 keeps 192.168.32.9, eni-1",)),
        Carried(kind="PodNetworking", count=0),
        Carried(kind="NetworkInterface", count=2, lost=("status.cardIndex, of 1 object",)),
    ),
    webhooks=("terway-controlplane",),
    nodes=("node-1",),
)

GOLDEN = """\
1 [x] check ConfigMap kube-system/eni-config
      not read any more: node_capabilities datapath=datapathv2
      risk: none: it is read, and stays as it is
2 [ ] custom resources and webhook
      definitions stay, the control plane adds fields: nodes v0.10.0, podenis
        v0.4.2
      objects stay, with names, finalizers and tags: 2 PodENIs, 2
        NetworkInterfaces
      PodENI default/db-0 keeps 192.168.32.9, eni-1
      not carried over: NetworkInterface status.cardIndex, of 1 object
      webhook configuration terway-controlplane: replaced by ours
      risk: pods that are created meanwhile wait for the webhook, if a network
        is for them
3 [ ] agents side by side, by a label of the node
      DaemonSet kube-system/terway-eniip (registry/terway:v1.17.5): not where
        terway.alibabacloud.com/taken-over=true
      risk: upstream's agents start again, one after the other; no pod notices
      $ kubectl -n kube-system patch daemonset terway-eniip --type=json
        --patch-file deploy/migration/upstream-apart.json
4 [ ] control plane
      Deployment kube-system/terway-controlplane
        (registry/terway-controlplane:v1.17.5): deleted, for ours has its name
      PodENIs and fixed addresses: read from the custom resources, nothing is
        made anew
      risk: new pods with a PodENI wait until ours has the lease; others notice
        nothing
      $ kubectl -n kube-system delete deployment terway-controlplane && helm
        upgrade --install terway deploy/chart/terway -n kube-system -f
        values.yaml --set-string
        agent.nodeSelector.terway\\.alibabacloud\\.com/taken-over=true
5 [ ] node node-1
      2 pods taken over, with addresses, MACs, routes and rules
      left alone, until it is restarted: default/fast: cali1234 has eBPF
        programs of datapathv2, with its connections in them
      added to each pod's link: guard against foreign addresses, gateway
        addresses
      10-terway.conflist: list 'terway-chainer' is replaced; ResRelation.db
        stays
      links of upstream's data path: cilium_net, cilium_host
      removed, when our policies are in force: cilium: pinned:
        /sys/fs/bpf/cilium
      what is Cilium's goes when the last pod that is left alone has gone
      risk: none for running pods; ADD and DEL wait while the agent is
        exchanged; 1 pod left alone, whose programs nobody updates
      $ kubectl label node node-1 terway.alibabacloud.com/taken-over=true
6 [ ] what is left of upstream
      DaemonSet kube-system/terway-eniip (registry/terway:v1.17.5): deleted,
        when every node is ours
      risk: with it goes the way back without a new installation of upstream
      $ kubectl -n kube-system delete daemonset terway-eniip
5 steps to do, 0 blocked; nothing was changed
"""


def plan_text(world: World) -> str:
    return "\n".join(plan_lines(plan_migration(world)))


def test_a_plan_is_read_in_eighty_columns():
    text = plan_text(World(cluster=CLUSTER, nodes=(NODE,)))

    assert text == GOLDEN.rstrip()
    assert max(map(len, text.splitlines())) <= WIDTH


def test_what_terwayd_would_refuse_blocks_the_first_step():
    broken = replace(NODE, config=CONFIG | {"eni_conf": '{"ip_stack":"ipv5"}'})

    plan = plan_migration(World(nodes=(broken,)))

    assert plan.is_blocked
    assert plan.steps[0].state is State.BLOCKED
    assert any("ip_stack" in text for text in plan.steps[0].changes)


def test_a_node_that_is_ours_is_done_and_one_with_a_journal_of_both_is_blocked():
    done = replace(NODE, name="node-2", held=2, is_taken=True)
    both = replace(NODE, name="node-3", held=2)

    plan = plan_migration(World(nodes=(done, both)))

    assert [one.state for one in plan.steps[1:]] == [State.DONE, State.BLOCKED]


def test_a_pod_that_has_lost_its_address_is_told_after_the_node_was_taken_over():
    lost = replace(NODE, held=2, is_taken=True, lost=("default/web-1",))

    step = plan_migration(World(nodes=(lost,))).steps[-1]

    assert step.state is State.BLOCKED
    assert "has another address, or none: default/web-1" in step.changes


def test_an_old_kernel_is_told_before_it_loses_a_packet():
    (_, step) = plan_migration(World(nodes=(replace(NODE, has_living_hooks=False),))).steps

    assert "before 6.6" in step.risk


def test_a_cluster_that_has_no_upstream_has_nothing_left_of_it():
    ours = tuple(replace(one, is_ours=True) for one in CLUSTER.workloads)

    plan = plan_migration(World(cluster=replace(CLUSTER, workloads=ours)))

    titles = {one.title: one.state for one in plan.steps}
    assert titles["control plane"] is State.DONE
    assert titles["what is left of upstream"] is State.DONE


def test_a_plan_of_named_nodes_is_of_no_others():
    cluster = replace(CLUSTER, nodes=("node-1", "node-2", "node-3"))
    blocked = replace(NODE, held=2)
    world = World(cluster=cluster, nodes=(blocked,))

    whole = [one.title for one in plan_migration(world).steps[4:]]
    two = plan_migration(world, nodes=("node-3", "node-2"))
    own = plan_migration(world, nodes=("node-1",))

    assert whole == ["node node-1", "2 other nodes: node-2, node-3", "what is left of upstream"]
    assert [one.title for one in two.steps[4:]] == ["2 nodes: node-2, node-3"]
    assert not two.is_blocked
    assert [one.title for one in own.steps[4:]] == ["node node-1"]
    assert own.is_blocked


@pytest.mark.parametrize(("ipam_type", "waits"), [("default", False), ("crd", True)])
def test_where_upstreams_control_plane_gives_addresses_new_pods_wait_for_their_node(
    ipam_type, waits
):
    conf = ENI_CONF.replace("{", f'{{"ipam_type":"{ipam_type}",', 1)
    cluster = replace(CLUSTER, config={**CONFIG, "eni_conf": conf})

    (step,) = [
        one for one in plan_migration(World(cluster=cluster)).steps if one.title == "control plane"
    ]

    assert ("new pods of other kinds wait on nodes without" in step.risk) is waits
