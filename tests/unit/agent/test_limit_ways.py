"""By what a node holds pods to their limits, and what is told where that is not what was asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terway.agent.limit_ways import limit_cautions, with_limits
from terway.config.agent_config import parse_agent_config
from terway.config.choices import BandwidthMode
from terway.config.cni_conf import CniConf
from terway.datapath.exclusive import desired_device
from terway.datapath.veth import desired_attachment
from terway.linux.limit_support import LimitSupport
from terway.model.interface import Bandwidth, Mode
from terway.model.traffic import Direction, Pacing, SharedLimit, TokenBucket, TrafficObject
from tests.support.attachments import ENI, NODE_FACTS, attachment

ALL = LimitSupport()
NO_FQ = LimitSupport(pacing_lacks="qdisc fq: ENOENT")
NO_IFB = LimitSupport(sharing_lacks="link type ifb: EOPNOTSUPP")


def cni(mode: BandwidthMode) -> CniConf:
    return replace(parse_agent_config(FILES).cni, bandwidth_mode=mode)


FILES = {"eni_conf": "{}", "10-terway.conf": '{"cniVersion":"0.4.0","name":"n","type":"terway"}'}
EDT, TC = cni(BandwidthMode.EDT), cni(BandwidthMode.TC)


def limits(conf: CniConf, support: LimitSupport, mode: Mode) -> list[TrafficObject]:
    """Return what holds a pod with both limits, inside of it."""
    made = attachment()
    limited = replace(made.spec, bandwidth=Bandwidth(ingress=1000, egress=2000))
    made, facts = replace(made, spec=limited), with_limits(NODE_FACTS, conf, support)
    if mode is Mode.EXCLUSIVE:
        pod = desired_device(made, gateways=ENI.gateways, node=facts).pod
    else:
        pod = desired_attachment(made, eni=ENI, node=facts).pod or ()
    return [one for one in pod if isinstance(one, TrafficObject)]


def test_departure_times_are_used_where_they_are_asked_for_and_there():
    assert [type(one) for one in limits(EDT, ALL, Mode.VETH)] == [Pacing]
    assert [type(one) for one in limits(EDT, NO_FQ, Mode.VETH)] == [TokenBucket]
    assert [type(one) for one in limits(TC, ALL, Mode.VETH)] == [TokenBucket]


def test_an_exclusive_pod_shares_its_limits_among_its_links():
    directions = [
        one.direction for one in limits(TC, ALL, Mode.EXCLUSIVE) if isinstance(one, SharedLimit)
    ]
    assert directions == [Direction.INGRESS, Direction.EGRESS]
    assert [type(one) for one in limits(EDT, ALL, Mode.EXCLUSIVE)] == [SharedLimit, Pacing]
    assert [type(one) for one in limits(TC, NO_IFB, Mode.EXCLUSIVE)] == [TokenBucket]


@pytest.mark.parametrize("mode", Mode)
def test_nothing_is_told_where_all_is_as_asked_for(mode):
    assert list(limit_cautions(mode, EDT, ALL)) == []
    assert list(limit_cautions(mode, TC, NO_FQ)) == []


def test_what_is_missing_is_named_with_what_helps():
    (told,) = limit_cautions(Mode.VETH, EDT, NO_FQ)
    assert "qdisc fq: ENOENT" in told.text
    assert "sch_fq" in told.text
    assert list(limit_cautions(Mode.VETH, EDT, NO_IFB)) == []
    (told,) = limit_cautions(Mode.EXCLUSIVE, TC, NO_IFB)
    assert "ifb" in told.text
