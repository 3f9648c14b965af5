"""ctrl-config: every key of the original, strictly, and every mistake explained."""

from __future__ import annotations

import pytest

from terway.config.findings import ConfigError
from terway.config.keys_controlplane import DegradationLevel
from terway.controlplane.config import (
    POD_CONTROLLERS,
    POOL_CONTROLLERS,
    chosen_controllers,
    parse_config,
    parse_credential,
)
from terway.model.address import IPStack

LEAST = "clusterID: c1\nvpcID: vpc-1\n"
# Source: shared contract of upstream's config_default.go.
UPSTREAM = """
leaseLockName: terway-controller-lock
leaseLockNamespace: kube-system
controllerNamespace: kube-system
controllerName: terway-controlplane
healthzBindAddress: 0.0.0.0:80
metricsBindAddress: "0"
clusterDomain: cluster.local
disableWebhook: false
webhookPort: 4443
certDir: /var/run/webhook-cert
leaderElection: true
leaseDuration: 15s
renewDeadline: 10s
retryPeriod: 2s
enableTrace: false
enableDevicePlugin: false
podMaxConcurrent: 10
podENIMaxConcurrent: 10
nodeMaxConcurrent: 10
eniMaxConcurrent: 300
multiIPPodMaxConcurrent: 500
multiIPNodeMaxConcurrent: 500
multiIPNodeSyncPeriod: 12h
multiIPGCPeriod: 2m
multiIPMinSyncPeriodOnFailure: 1s
multiIPMaxSyncPeriodOnFailure: 300s
nodeLabelWhiteList: {}
controllers: ["*"]
regionID: cn-hangzhou
clusterID: c1
vpcID: vpc-1
enableTrunk: true
ipStack: dual
enableWebhookInjectResource: true
kubeClientQPS: 20
kubeClientBurst: 30
vSwitchPoolSize: 1000
vSwitchCacheTTL: 20m
customStatefulWorkloadKinds: [CloneSet]
backoffOverride: {}
rateLimit: {CreateNetworkInterface: 100}
ipamType: crd
centralizedIPAM: true
degradation: l1
"""


def test_every_key_of_the_original_is_understood():
    config, cautions = parse_config(UPSTREAM)

    assert cautions == ()
    assert config.ip_stack is IPStack.DUAL
    assert config.degradation is DegradationLevel.L1
    assert config.has_every_pod
    assert config.rate_limits_per_min == {"CreateNetworkInterface": 100}
    assert config.metrics_listen == ""
    assert config.lease is not None
    assert (config.lease.duration_s, config.lease.renew_deadline_s) == (15.0, 10.0)


def test_little_has_to_be_said():
    config, cautions = parse_config(LEAST)

    assert cautions == ()
    assert config.controllers == POD_CONTROLLERS
    assert config.lease is None
    assert config.webhook is not None
    assert (config.sync_s, config.concurrency.eni) == (43_200.0, 300)


def test_json_is_understood_too():
    config, _ = parse_config('{"clusterID": "c1", "vpcID": "vpc-1"}')
    assert config.cluster_id == "c1"


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        ("vpcID: vpc-1", "ctrl-config.clusterID", "must be there"),
        ("clusterID: c1", "ctrl-config.vpcID", "must be there"),
        (LEAST + "leaseDuraton: 15s", "ctrl-config.leaseDuraton", "did you mean leaseDuration"),
        (LEAST + "leaseDuration: soon", "ctrl-config.leaseDuration", '"15s"|duration'),
        (LEAST + "renewDeadline: 20s", "ctrl-config.renewDeadline", "less than leaseDuration"),
        (LEAST + "retryPeriod: 10s", "ctrl-config.retryPeriod", "less than renewDeadline"),
        (LEAST + "degradation: l2", "ctrl-config.degradation", "l0, l1"),
        (LEAST + "podMaxConcurrent: 0", "ctrl-config.podMaxConcurrent", "between 1 and 10000"),
        (LEAST + "controllers: [pods]", "ctrl-config.controllers[0]", "must be one of pod-eni"),
        (LEAST + "healthzBindAddress: here", "ctrl-config.healthzBindAddress", "an address"),
        (LEAST + "vpcID: vpc-2", "ctrl-config", "vpcID is there twice"),
        (LEAST + "- a", "ctrl-config", "not YAML"),
        ("[]", "ctrl-config", "must be an object"),
        (LEAST + "accessKey: a", "ctrl-config.accessKey", "not a key"),
    ],
)
def test_what_cannot_be_right_is_refused_with_field_and_remedy(text, field, said):
    with pytest.raises(ConfigError, match=said) as caught:
        parse_config(text)

    assert field in [one.field for one in caught.value.refusals]


def test_all_mistakes_are_said_at_once():
    with pytest.raises(ConfigError) as caught:
        parse_config("vpcID: eni-1\nwebhookPort: 0\nipStack: ipv5")

    assert len(caught.value.refusals) == 4


def test_keys_without_effect_are_told():
    _, cautions = parse_config(LEAST + "enableTrace: true\ncertDir: /tmp/x")

    assert [one.field for one in cautions] == ["ctrl-config.enableTrace", "ctrl-config.certDir"]


@pytest.mark.parametrize(
    ("asked", "centralized", "runs"),
    [
        ((), True, {*POD_CONTROLLERS, *POOL_CONTROLLERS}),
        ((), False, {*POD_CONTROLLERS}),
        (("*",), True, {*POD_CONTROLLERS, *POOL_CONTROLLERS, "service"}),
        (("*", "-pod"), False, {"pod-eni", "pod-networking", "eni", "service"}),
        (("-eni",), False, {"pod-eni", "pod", "pod-networking"}),
        (("service",), True, {"service"}),
        (("node", "pod"), False, {"pod"}),
    ],
)
def test_controllers_are_named_or_taken_out(asked, centralized, runs):
    assert set(chosen_controllers(asked, centralized=centralized)) == runs


def test_credentials_are_read_and_not_shown():
    found, _ = parse_credential("accessKey: id\naccessSecret: hush")

    assert (found.access_key, found.access_secret) == ("id", "hush")
    assert "hush" not in repr(found)


def test_half_a_key_is_refused():
    with pytest.raises(ConfigError, match=r"ctrl-secret\.accessSecret"):
        parse_credential("accessKey: id")
