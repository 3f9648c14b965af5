"""kubectl, whichever the machine has (1.20 of Debian 12 or a newer one), against the lab's API."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.kubectl import Kubectl
from tests.support.live_cluster import open_live_cluster

pytestmark = pytest.mark.witness

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: a, labels: {app: x}}
spec:
  containers:
  - {name: c, image: busybox, command: [sleep, "1"]}
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: c, image: busybox}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {key: value}
"""
DAEMON_SET = """\
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: kube-system}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      containers: [{name: c, image: busybox}]
"""


@pytest.fixture
async def kubectl(tmp_path):
    async with open_live_cluster(tmp_path) as server:
        yield Kubectl(tmp_path, server.kubeconfig)


async def applied(kubectl: Kubectl) -> Kubectl:
    await kubectl.apply(POD)
    await kubectl("wait", "--for=condition=Ready", "pod/a", "--timeout=30s")
    return kubectl


async def test_apply_creates_then_changes_then_leaves_alone(kubectl):
    first = await kubectl.apply(POD)
    second = await kubectl.apply(POD.replace("app: x", "app: other"))
    third = await kubectl.apply(POD.replace("app: x", "app: other"))

    assert [first, second, third] == [
        "pod/a created\n",
        "pod/a configured\n",
        "pod/a unchanged\n",
    ]


async def test_get_shows_the_usual_columns(kubectl):
    await applied(kubectl)

    plain = (await kubectl("get", "pods")).splitlines()
    wide = (await kubectl("get", "pods", "-o", "wide")).splitlines()
    nodes = (await kubectl("get", "nodes")).splitlines()

    assert plain[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert plain[1].split()[0] == "a"
    assert plain[1].split()[2] == "Running"
    assert "NODE" in wide[0]
    assert "192.168.32.9" in wide[1]
    assert nodes[1].split()[:3] == ["node-1", "Ready", "<none>"]


async def test_get_answers_in_the_other_forms(kubectl):
    await applied(kubectl)

    path = await kubectl("get", "pod", "a", "-o", "jsonpath={.status.phase}")
    names = await kubectl("get", "pods", "-A", "-o", "name", "-l", "app=x")
    picked = await kubectl("get", "pods", "--field-selector", "metadata.name=a", "-o", "name")
    yaml = await kubectl("get", "pod", "a", "-o", "yaml")

    assert path == "Running"
    assert names == picked == "pod/a\n"
    assert "kind: Pod" in yaml


async def test_get_all_kinds_at_once(kubectl):
    await kubectl.apply(DEPLOYMENT)
    await kubectl("rollout", "status", "deployment/web", "--timeout=30s")

    shown = await kubectl("get", "all,cm,events,ns,leases,secrets", "-A")

    for name in ("deployment.apps/web", "replicaset.apps/web-", "configmap/settings"):
        assert name in shown


async def test_describe_tells_the_story_of_a_pod_and_its_node(kubectl):
    await applied(kubectl)

    pod = await kubectl("describe", "pod", "a")
    node = await kubectl("describe", "node", "node-1")
    namespace = await kubectl("describe", "namespace", "default")

    assert "Successfully assigned default/a to node-" in pod
    assert "Name:" in node
    assert "Active" in namespace


async def test_describe_a_deployment_shows_its_sets(kubectl):
    await kubectl.apply(DEPLOYMENT)
    await kubectl("rollout", "status", "deployment/web", "--timeout=30s")

    shown = await kubectl("describe", "deployment", "web")

    assert "2 desired | 2 updated | 2 total | 2 available" in shown
    assert "NewReplicaSet:   web-" in shown
    assert "ScalingReplicaSet" in shown


async def test_delete_waits_until_it_is_gone(kubectl):
    await applied(kubectl)

    told = await kubectl("delete", "pod", "a")
    after = await kubectl.run("get", "pod", "a")

    assert told.startswith('pod "a" deleted')
    assert after.err == 'Error from server (NotFound): pods "a" not found\n'


async def test_deleting_a_deployment_takes_its_pods(kubectl):
    await kubectl.apply(DEPLOYMENT)
    await kubectl("rollout", "status", "deployment/web", "--timeout=30s")

    await kubectl("delete", "deployment", "web", "--cascade=foreground")

    assert await kubectl("get", "pods", "-o", "name") == ""


async def test_deleting_a_namespace_takes_all_that_is_in_it(kubectl):
    await kubectl("create", "namespace", "team")
    await kubectl("create", "configmap", "c", "-n", "team", "--from-literal=a=b")

    await kubectl("delete", "namespace", "team")

    assert (await kubectl.run("get", "ns", "team")).code == 1


async def test_labels_and_annotations(kubectl):
    await applied(kubectl)

    await kubectl("label", "pod", "a", "tier=front")
    await kubectl("annotate", "pod", "a", "k8s.aliyun.com/note=1")
    taken = await kubectl.run("label", "pod", "a", "tier=back")
    await kubectl("label", "pod", "a", "tier=back", "--overwrite")
    await kubectl("label", "pod", "a", "app-")

    assert taken.code == 1
    shown = await kubectl("get", "pod", "a", "-o", "jsonpath={.metadata.labels}")
    assert shown == '{"tier":"back"}'


async def test_scale_and_rollout(kubectl):
    await kubectl.apply(DEPLOYMENT)
    await kubectl("rollout", "status", "deployment/web", "--timeout=30s")

    await kubectl("scale", "deployment", "web", "--replicas=3")
    await kubectl("set", "image", "deployment/web", "c=busybox:2")
    status = await kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    history = await kubectl("rollout", "history", "deployment/web")
    await kubectl("rollout", "undo", "deployment/web")
    await kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    await kubectl("rollout", "restart", "deployment/web")
    await kubectl("rollout", "status", "deployment/web", "--timeout=30s")

    assert 'deployment "web" successfully rolled out' in status
    assert [line.split()[0] for line in history.splitlines()[2:4]] == ["1", "2"]
    path = "jsonpath={.spec.template.spec.containers[0].image} {.status.readyReplicas}"
    assert await kubectl("get", "deployment", "web", "-o", path) == "busybox 3"


async def test_a_daemon_set_rolls_out(kubectl):
    await kubectl.apply(DAEMON_SET)

    await kubectl("rollout", "status", "daemonset/agent", "-n", "kube-system", "--timeout=30s")
    shown = (await kubectl("get", "ds", "-n", "kube-system")).splitlines()

    assert shown[1].split()[:4] == ["agent", "2", "2", "2"]


async def test_logs(kubectl):
    await applied(kubectl)
    (kubectl.folder / "a-c.log").write_text("one\ntwo\nthree\n")
    (kubectl.folder / "a-c-previous.log").write_text("before\n")

    whole = await kubectl("logs", "a")
    tail = await kubectl("logs", "a", "-c", "c", "--tail=1")
    previous = await kubectl("logs", "a", "--previous")
    wrong = await kubectl.run("logs", "a", "-c", "nobody")

    assert (whole, tail, previous) == ("one\ntwo\nthree\n", "three\n", "before\n")
    assert "nobody" in wrong.err


async def test_logs_are_followed_until_the_pod_ends(kubectl):
    await applied(kubectl)
    log = kubectl.folder / "a-c.log"
    log.write_text("one\n")

    following = await kubectl.start("logs", "-f", "a")
    assert following.stdout is not None
    first = await following.stdout.readline()
    with log.open("a") as file:
        file.write("two\n")
    await kubectl("delete", "pod", "a")
    rest = await following.stdout.read()

    assert (first, rest, await following.wait()) == (b"one\n", b"two\n", 0)


async def test_cordon_and_drain_move_the_pods(kubectl):
    await kubectl.apply(DEPLOYMENT)
    await kubectl("rollout", "status", "deployment/web", "--timeout=30s")

    await kubectl("drain", "node-1", "--ignore-daemonsets", "--timeout=30s")
    await kubectl("rollout", "status", "deployment/web", "--timeout=30s")

    path = "jsonpath={.items[*].spec.nodeName}"
    assert await kubectl("get", "pods", "-o", path) == "node-2 node-2"
    assert "SchedulingDisabled" in await kubectl("get", "node", "node-1")
    await kubectl("uncordon", "node-1")


async def test_a_wrong_manifest_is_refused_with_the_field(kubectl):
    missing = await kubectl.run("apply", "-f", "-", stdin=POD.replace("image:", "imag:"))
    invalid = await kubectl.run("create", "configmap", "Not_A_Name")

    assert missing.code == invalid.code == 1
    assert "spec.containers[0].imag" in missing.err
    assert "metadata.name" in invalid.err


async def test_a_server_side_apply_names_the_conflict(kubectl):
    words = ("apply", "--server-side", "--field-manager")
    await kubectl(*words, "first", "-f", "-", stdin=DEPLOYMENT)
    wanted = DEPLOYMENT.replace("replicas: 2", "replicas: 5")

    refused = await kubectl.run(*words, "second", "-f", "-", stdin=wanted)
    await kubectl(*words, "second", "--force-conflicts", "-f", "-", stdin=wanted)

    assert 'conflict with "first"' in refused.err or 'conflicts with "first"' in refused.err
    assert await kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "5"


async def test_a_dry_run_stores_nothing(kubectl):
    told = await kubectl("apply", "--dry-run=server", "-f", "-", stdin=POD)

    assert "created (server dry run)" in told
    assert (await kubectl.run("get", "pod", "a")).code == 1


async def test_patches_of_each_kind(kubectl):
    await kubectl.apply(DEPLOYMENT)
    for kind, patch in (
        ("merge", '{"spec":{"paused":true}}'),
        ("json", '[{"op":"replace","path":"/spec/replicas","value":4}]'),
        (
            "strategic",
            '{"spec":{"template":{"spec":{"containers":[{"name":"c","env":[{"name":"A"}]}]}}}}',
        ),
    ):
        await kubectl("patch", "deployment", "web", "--type", kind, "-p", patch)

    path = (
        "jsonpath={.spec.paused} {.spec.replicas} {.spec.template.spec.containers[0].image} "
        "{.spec.template.spec.containers[0].env[0].name}"
    )
    assert await kubectl("get", "deployment", "web", "-o", path) == "true 4 busybox A"


async def test_create_makes_objects_of_each_kind_it_knows(kubectl):
    await kubectl("create", "namespace", "team")
    for words in (
        ("configmap", "c", "--from-literal=a=b"),
        ("secret", "generic", "s", "--from-literal=a=b"),
        ("serviceaccount", "robot"),
        ("deployment", "web", "--image=busybox", "--replicas=0"),
        ("service", "clusterip", "web", "--tcp=80:8080"),
    ):
        await kubectl("create", "-n", "team", *words)

    path = "jsonpath={.items[*].data.a} {.items[*].spec.replicas} {.items[*].spec.ports}"
    shown = await kubectl("get", "-n", "team", "cm,secret,deploy,svc", "-o", path)
    assert shown.startswith("b Yg== 0 ")
    assert '"targetPort":8080' in shown


async def test_what_the_server_can_do_is_listed(kubectl):
    resources = await kubectl("api-resources", "-o", "name")
    versions = await kubectl("api-versions")

    assert {"pods", "deployments.apps", "leases.coordination.k8s.io"} <= set(resources.split())
    assert {"v1", "apps/v1", "coordination.k8s.io/v1"} <= set(versions.split())


async def test_a_watch_shows_what_there_is_and_what_becomes_of_it(kubectl):
    await applied(kubectl)
    watching = await kubectl.start("get", "pods", "-w", "--output-watch-events")
    assert watching.stdout is not None

    lines = [(await watching.stdout.readline()).decode().split() for _ in range(2)]
    await kubectl("delete", "pod", "a")
    async with asyncio.timeout(30):
        while lines[-1][0] != "DELETED":
            lines.append((await watching.stdout.readline()).decode().split())
    watching.terminate()
    await watching.communicate()

    assert lines[0] == ["EVENT", "NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert lines[1][:4] == ["ADDED", "a", "0/1", "Running"]
    assert lines[-1][1] == "a"


async def test_replace_writes_the_whole_object(kubectl):
    await kubectl.apply(DEPLOYMENT)
    held = await kubectl("get", "configmap", "settings", "-o", "yaml")

    await kubectl("replace", "-f", "-", stdin=held.replace("key: value", "key: other"))
    stale = await kubectl.run("replace", "-f", "-", stdin=held)

    assert await kubectl("get", "cm", "settings", "-o", "jsonpath={.data.key}") == "other"
    assert "the object has been modified" in stale.err


POLICIES = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: shop}}}, {ipBlock: {cidr: 10.0.0.0/8}}]
    ports: [{protocol: TCP, port: 80, endPort: 90}]
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: floor}
spec:
  tier: Baseline
  priority: 7
  subject: {namespaces: {}}
  ingress: [{action: Deny, from: [{namespaces: {}}]}]
---
apiVersion: policy.networking.k8s.io/v1alpha1
kind: BaselineAdminNetworkPolicy
metadata: {name: default}
spec:
  subject: {namespaces: {}}
"""


async def test_policies_are_applied_listed_by_short_names_and_described(kubectl):
    first, second = await kubectl.apply(POLICIES), await kubectl.apply(POLICIES)

    listed = {name: await kubectl("get", name) for name in ("netpol", "cnp", "banp")}
    told = await kubectl("describe", "netpol", "web")

    assert [first.count("created"), second.count("unchanged")] == [3, 3]
    assert listed["netpol"].split()[:5] == ["NAME", "POD-SELECTOR", "AGE", "web", "app=web"]
    head, row = (line.split() for line in listed["cnp"].splitlines())
    assert (head, row[:3]) == (["NAME", "TIER", "PRIORITY", "AGE"], ["floor", "Baseline", "7"])
    assert listed["banp"].split()[2] == "default"
    assert "PodSelector: app=shop" in told
    assert "Policy Types: Ingress" in told


async def test_a_policy_that_means_nothing_is_refused_by_its_field(kubectl):
    wrong = POLICIES.replace("endPort: 90", "endPort: 9")

    answer = await kubectl.run("apply", "-f", "-", stdin=wrong)

    assert answer.code == 1
    assert "must be greater than or equal to `port`" in answer.err
