"""What becomes of the cloud's listeners: who gets new connections, who keeps old ones, how long."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from terway.lab.balancer.carrying import FORGOTTEN_S, Carried, carried
from terway.lab.balancer.checks import Seen
from terway.lab.cloud.balancer_records import HealthCheckRecord, HealthSeen
from terway.lab.cloud.balancer_view import Access, ForwardedServer, ForwardingListener
from terway.lab.vpc.state import Scheduler, Server
from terway.model.ids import VpcId

VPC = VpcId("vpc-1")
VIP = IPv4Address("192.168.0.100")
ONE, TWO = (IPv4Address(f"192.168.32.{last}") for last in (1, 2))
BOTH = tuple(ForwardedServer(address=one, port=8080, weight=50) for one in (ONE, TWO))
LISTENER = ForwardingListener(
    id="lb-1/tcp/80",
    vpc_id=VPC,
    address=VIP,
    protocol=6,
    port=80,
    scheduler="wrr",
    check=HealthCheckRecord(),
    servers=BOTH,
    drain_s=30,
)
HEALTHY = HealthSeen(healthy=frozenset(("lb-1/tcp/80", one, 8080) for one in (ONE, TWO)))


def carry(listener, health=HEALTHY, before=None, *, now=0.0):
    return carried(before or Carried(), [(VPC, VIP)], [listener], health, now=now)


def servers(found):
    return found.balancers[0].listeners[0].servers


def test_healthy_backends_get_new_connections_by_their_weight():
    found = carry(replace(LISTENER, persistence_s=9, access=Access(is_allowed=True, ranges=())))

    assert servers(found) == tuple(Server(address=one, port=8080, weight=50) for one in (ONE, TWO))
    (listener,) = found.balancers[0].listeners
    assert (listener.scheduler, listener.persistence_s) == (Scheduler.TURNS, 9)
    assert (listener.cuts, listener.access is not None) == (True, True)
    assert found.balancers[0].members == (ONE, TWO)


def test_who_is_not_known_yet_gets_nothing_and_who_is_not_asked_gets_all():
    assert servers(carry(LISTENER, HealthSeen())) == ()
    unchecked = replace(LISTENER, check=HealthCheckRecord(is_on=False))
    assert len(servers(carry(unchecked, HealthSeen()))) == 2


def test_a_removed_backend_keeps_what_it_has_for_the_drain_time_and_no_longer():
    before = carry(LISTENER)
    fewer = replace(LISTENER, servers=BOTH[:1])

    draining = carry(fewer, before=before, now=10.0)
    later = carry(fewer, before=draining, now=39.0)
    over = carry(fewer, before=later, now=40.0)

    leaving = Server(address=TWO, port=8080, weight=0, is_healthy=False)
    assert servers(draining)[1:] == servers(later)[1:] == (leaving,)
    assert draining.next_due() == later.next_due() == 40.0
    assert len(servers(over)) == 1
    assert (over.balancers[0].members, over.next_due()) == ((ONE,), None)


def test_a_backend_that_fails_its_checks_drains_and_comes_back():
    sick = HealthSeen(
        healthy=frozenset({("lb-1/tcp/80", ONE, 8080)}),
        unhealthy=frozenset({("lb-1/tcp/80", TWO, 8080)}),
    )

    draining = carry(LISTENER, sick, before=carry(LISTENER), now=10.0)
    back = carry(LISTENER, before=draining, now=20.0)

    assert not servers(draining)[1].is_healthy
    assert servers(back) == servers(carry(LISTENER))
    assert back.next_due() is None


def test_without_draining_connections_are_never_cut_and_answers_still_understood():
    listener = replace(LISTENER, drain_s=None)
    fewer = replace(listener, servers=BOTH[:1])

    left = carry(fewer, before=carry(listener), now=10.0)

    assert not left.balancers[0].listeners[0].cuts
    assert left.balancers[0].members == (ONE, TWO)
    assert left.next_due() == 10.0 + FORGOTTEN_S


def test_rr_knows_weights_as_yes_and_no_only():
    uneven = (replace(BOTH[0], weight=7), replace(BOTH[1], weight=0))

    assert [one.weight for one in servers(carry(replace(LISTENER, servers=uneven)))] == [7, 0]
    even = replace(LISTENER, servers=uneven, scheduler="rr")
    assert [one.weight for one in servers(carry(even))] == [1, 0]


CHECK = HealthCheckRecord(healthy_after=2, unhealthy_after=3)


@pytest.mark.parametrize(
    ("answers", "is_healthy"),
    [
        ("", None),
        ("y", True),
        ("n", False),
        ("ynn", True),
        ("ynnyn", True),
        ("ynnn", False),
        ("ny", False),
        ("nyy", True),
        ("nyny", False),
    ],
)
def test_health_changes_after_as_many_answers_in_a_row_as_are_set(answers, is_healthy):
    seen = Seen()
    for one in answers:
        seen = seen.after(one == "y", CHECK)

    assert seen.is_healthy is is_healthy
