"""What others changed is told once: what it was, what it should be, and who did it, if known."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from structlog.testing import capture_logs

from terway.agent.blame import Blame
from terway.agent.mender import FOUGHT, MENDED, POD_MENDED, Mender
from terway.datapath.fights import PATIENCE, PAUSE_S
from terway.linux.foreign import Change, Kind
from terway.model.address import Family
from terway.model.attachment import PodRef
from terway.model.endpoint import EndpointNumber
from terway.model.network import (
    NODE,
    CreateVeth,
    LinkSettings,
    Netns,
    Put,
    Remove,
    RoutingRule,
    Sysctl,
)
from terway.model.programs import InnerPrograms

RULE = RoutingRule(
    family=Family.V4, priority=512, destination=ip_network("192.168.32.1/32"), table=254
)
RP_FILTER = Sysctl(path="net/ipv4/conf/eth1/rp_filter", value="0")
WEB = PodRef(namespace="default", name="web", uid="u1")


class Scene:
    def __init__(self):
        self.now = 100.0
        self.told = []
        self.names: dict[int, str] = {}
        self.running: list[str] = []
        self.blame = Blame(
            now=lambda: self.now,
            name_of=lambda process: self.names.get(process, ""),
            running=lambda: self.running,
        )
        self.mender = Mender(now=lambda: self.now, blame=self.blame, teller=self)

    def tell_node(self, reason, message):
        self.told.append((reason, message))

    def tell_pod(self, pod, reason, message):
        self.told.append((reason, f"{pod}: {message}"))

    def mend(self, *operations, actual=(), **how):
        admitted = self.mender.admit(operations, actual)
        with capture_logs() as logs:
            self.mender.mended(admitted, **how)
        return admitted.operations, logs


@pytest.fixture
def scene():
    return Scene()


def test_a_missing_rule_is_told_once_in_the_log_and_once_at_the_node(scene):
    put = Put(netns=NODE, object=RULE)

    admitted, logs = scene.mend(put)

    assert admitted == (put,)
    (line,) = logs
    assert line["object"] == "rule 512 to 192.168.32.1/32"
    assert (line["was"], line["should_be"]) == ("nothing", "lookup 254")
    assert line["by"] == "somebody unknown"
    ((reason, message),) = scene.told
    assert reason == MENDED
    assert "rule 512 to 192.168.32.1/32 was nothing, should be lookup 254" in message


def test_the_program_is_named_while_it_is_there(scene):
    scene.names[812] = "NetworkManager"
    scene.blame.note(Change(kind=Kind.RULE, is_gone=True, process=812))
    scene.names.clear()  # the name was asked for at once

    _, (line,) = scene.mend(Put(netns=NODE, object=RULE))

    assert line["by"] == "NetworkManager (process 812)"


def test_a_program_that_has_ended_is_told_by_its_number(scene):
    scene.blame.note(Change(kind=Kind.RULE, is_gone=True, process=812))

    _, (line,) = scene.mend(Put(netns=NODE, object=RULE))

    assert line["by"] == "a program that has ended (process 812)"


def test_who_did_something_else_or_long_ago_is_not_blamed(scene):
    scene.blame.note(Change(kind=Kind.ROUTE, is_gone=True, process=1))
    scene.blame.note(Change(kind=Kind.RULE, is_gone=True, process=2))
    scene.now += 60

    _, (line,) = scene.mend(Put(netns=NODE, object=RULE))

    assert line["by"] == "somebody unknown"


def test_of_a_setting_only_suspects_are_known(scene):
    """Bug class 26: systemd sets rp_filter again; class 27: NetworkManager."""
    scene.running = ["bash", "systemd-network", "NetworkManager"]

    found = Sysctl(path=RP_FILTER.path, value="2")
    _, (line,) = scene.mend(Put(netns=NODE, object=RP_FILTER), actual=[found])

    assert line["by"] == "somebody unknown (NetworkManager, systemd-network run here)"
    assert (line["was"], line["should_be"]) == ("2", "0")


def test_what_was_mended_in_a_pod_is_told_at_the_pod(scene):
    scene.mend(Put(netns=Netns("/run/netns/web"), object=RP_FILTER), pod=WEB, is_inside=True)

    ((reason, message),) = scene.told
    assert reason == POD_MENDED
    assert message.startswith("default/web: sysctl net/ipv4/conf/eth1/rp_filter in /run/netns/web")
    assert scene.mender.counts == {("sysctl", "pod"): 1}


def test_a_thousand_rules_are_one_event_and_not_a_thousand_lines(scene):
    rules = [
        RoutingRule(family=Family.V4, priority=512, destination=ip_network(number), table=254)
        for number in range(1000)
    ]

    admitted, logs = scene.mend(*(Put(netns=NODE, object=rule) for rule in rules))

    assert len(admitted) == 1000
    assert len(logs) == 51
    ((_, message),) = scene.told
    assert "and 997 more" in message


def test_what_is_removed_is_told_as_what_should_not_be(scene):
    _, (line,) = scene.mend(Remove(netns=NODE, object=RULE), actual=[RULE])

    assert (line["was"], line["should_be"]) == ("lookup 254", "nothing")


def test_a_fight_is_told_once_and_then_waits(scene):
    put = Put(netns=NODE, object=RULE)
    for _ in range(PATIENCE):
        assert scene.mend(put)[0] == (put,)
        scene.now += 1

    assert [reason for reason, _ in scene.told].count(FOUGHT) == 1
    assert scene.mender.fights == 1
    assert scene.mend(put) == ((), [])
    assert scene.mender.wait_s == PAUSE_S - 1

    scene.now += PAUSE_S
    scene.mender.begin()
    assert scene.mender.wait_s == float("inf")
    assert scene.mend(put)[0] == (put,)
    assert [reason for reason, _ in scene.told].count(FOUGHT) == 1


def test_a_fight_over_one_thing_keeps_nothing_else_from_being_mended(scene):
    put, other = Put(netns=NODE, object=RULE), Put(netns=NODE, object=RP_FILTER)
    for _ in range(PATIENCE):
        scene.mend(put)

    assert scene.mend(put, other)[0] == (other,)


def test_what_was_not_done_is_not_told(scene):
    scene.mender.admit([Put(netns=NODE, object=RULE)], ())  # and then the kernel refused

    scene.mender.mended(scene.mender.admit([], ()))

    assert scene.told == []


def test_for_what_is_changed_in_a_pod_nobody_is_named(scene):
    """A port is a process id of its own pid namespace: process 7 of the node is another one."""
    scene.names[7] = "libuv-worker"
    scene.blame.note(Change(kind=Kind.SETTING, is_gone=False, process=7))

    _, (line,) = scene.mend(Put(netns=Netns("/run/netns/web"), object=RP_FILTER), is_inside=True)

    assert line["by"] == "somebody unknown"


def test_a_process_that_cannot_have_been_it_is_not_named(scene):
    scene.names[7] = None
    scene.blame.note(Change(kind=Kind.RULE, is_gone=True, process=7))

    _, (line,) = scene.mend(Put(netns=NODE, object=RULE))

    assert line["by"] == "somebody unknown"


def test_one_deed_in_a_pod_is_one_event(scene):
    inside = Netns("/run/netns/web")
    link = LinkSettings(name="eth0")

    scene.mend(
        Put(netns=inside, object=RP_FILTER), Put(netns=inside, object=link), pod=WEB, is_inside=True
    )

    ((reason, message),) = scene.told
    assert reason == POD_MENDED
    assert "sysctl net" in message
    assert "link eth0 in /run/netns/web was nothing, should be up. Changed by somebody" in message


def test_the_making_of_a_veth_is_one_deed_with_all_that_belongs_on_it(scene):
    veth = CreateVeth(
        host=LinkSettings(name="cali1"), peer=LinkSettings(name="eth0"), netns=Netns("/ns/web")
    )
    plan = (veth, Put(netns=NODE, object=LinkSettings(name="cali1", mtu_bytes=1500)))
    for _ in range(PATIENCE):
        assert scene.mend(*plan, pod=WEB, is_inside=True)[0] == plan

    assert scene.mend(*plan) == ((), [])  # somebody deletes it again and again: not half of it
    assert scene.mender.counts == {("link", "pod"): PATIENCE}


def test_programs_inside_a_pod_are_put_back_however_often_it_takes_them_away(scene):
    """Until then its policies are not in force; only what is said of it becomes rare."""
    put = Put(
        netns=Netns("/run/netns/web"), object=InnerPrograms(link="eth0", number=EndpointNumber(7))
    )

    for _ in range(PATIENCE + 20):
        scene.now += 1.0
        admitted, _logs = scene.mend(put, pod=WEB, is_inside=True)
        assert admitted == (put,)

    told = [reason for reason, _ in scene.told]
    assert told.count(POD_MENDED) <= PATIENCE
    scene.now += PAUSE_S
    _, logs = scene.mend(put, pod=WEB, is_inside=True)
    assert len(logs) == 1
