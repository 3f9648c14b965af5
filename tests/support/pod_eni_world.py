"""One pod name, its PodENI and the cloud, on paper: what the step machine of podeni is run against.

Everything that the control plane does can be cut short: it dies after any command, and its calls
are done without it hearing the answer. The world notes what must never be.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import IPv4Address

from terway.model.eni import ENI, ENIStatus, ENIType
from terway.model.ids import ENIId, InstanceId, MacAddress, NodeName, VpcId, VSwitchId, ZoneId
from terway.model.pod_network import Lifetime
from terway.podeni.commands import (
    Attach,
    Claim,
    Command,
    CreateENIs,
    DeleteENIs,
    Detach,
    Forget,
    ForgetENIs,
    Release,
    SetPhase,
)
from terway.podeni.eni_life import (
    AttachENI,
    DeleteENI,
    DetachENI,
    ReleaseENI,
    Report,
    Wish,
    step_eni,
)
from terway.podeni.garbage import find_garbage, tags_of
from terway.podeni.life import step
from terway.podeni.record import (
    ENIState,
    Interface,
    NodeState,
    Phase,
    PodState,
    Record,
    Target,
    World,
)

ZONE = ZoneId("zone-a")
START = 1_790_000_000.0


def node(number: int) -> NodeState:
    return NodeState(
        name=NodeName(f"n{number}"),
        instance_id=InstanceId(f"i-{number}"),
        zone_id=ZONE,
        trunk_eni_id=ENIId(f"eni-trunk-{number}"),
    )


@dataclass
class PaperWorld:
    """The world. `lifetimes` are those of the pod's interfaces."""

    lifetimes: tuple[Lifetime, ...]
    now: float = START
    record: Record | None = None
    record_uid: int = 0
    pod: PodState | None = None
    pods_made: int = 0
    pod_gone_at: float = START
    is_deleted_by_hand: bool = False
    nodes: dict[str, NodeState] = field(
        default_factory=lambda: {f"n{i}": node(i) for i in range(3)}
    )
    wishes: dict[ENIId, Wish] = field(default_factory=dict)
    lost: set[ENIId] = field(default_factory=set)
    cloud: dict[ENIId, ENI] = field(default_factory=dict)
    tokens: dict[str, ENIId] = field(default_factory=dict)
    detached: dict[ENIId, int] = field(default_factory=dict)
    used: dict[ENIId, tuple[str, int]] = field(default_factory=dict)
    kept: dict[str, ENIId] = field(default_factory=dict)

    # What others do.

    def make_pod(self, number: int | None) -> None:
        if self.pod is None:
            self.pods_made += 1
            name = None if number is None else NodeName(f"n{number}")
            self.pod = PodState(uid=f"pod-{self.pods_made}", node_name=name)

    def schedule(self, number: int) -> None:
        if self.pod is not None and self.pod.node_name is None:
            self.pod = replace(self.pod, node_name=NodeName(f"n{number}"))

    def finish_pod(self) -> None:
        self._note_end()
        if self.pod is not None:
            self.pod = replace(self.pod, is_over=True)

    def delete_pod(self) -> None:
        self._note_end()
        self.pod = None

    def _note_end(self) -> None:
        """Note when a pod ended that the control plane knew: of others nobody can know."""
        pod, record = self.pod, self.record
        if pod is None or pod.is_over or record is None or record.pod_uid != pod.uid:
            return
        self.pod_gone_at = self.now

    def terminate_pod(self) -> None:
        if self.pod is not None:
            self.pod = replace(self.pod, is_terminating=True)

    def lose_node(self, number: int) -> None:
        """The instance is released: ENIs that are not Fixed go with it."""
        gone = self.nodes.pop(f"n{number}", None)
        if gone is None:
            return
        if self.pod is not None and self.pod.node_name == gone.name:
            self.delete_pod()
        for eni in list(self.cloud.values()):
            if eni.instance_id != gone.instance_id:
                continue
            if self.is_fixed(eni.id):
                self.put_off(eni)
            else:
                del self.cloud[eni.id]

    def add_node(self, number: int) -> None:
        self.nodes.setdefault(f"n{number}", node(number))

    def delete_by_hand(self) -> None:
        if self.record is not None:
            self.record = replace(self.record, is_deleted=True)
            self.is_deleted_by_hand = True

    def attach_by_hand(self) -> None:
        """Somebody attaches the pod's ENIs to an instance of his own."""
        for eni in list(self.cloud.values()):
            if eni.status is ENIStatus.AVAILABLE:
                place = InstanceId("i-elsewhere")
                self.cloud[eni.id] = replace(eni, status=ENIStatus.IN_USE, instance_id=place)

    def is_fixed(self, eni_id: ENIId) -> bool:
        return dict(self.cloud[eni_id].tags)["kept"] == "True"

    # The control plane.

    def run_pod(self) -> None:
        """The controller of pods: a PodENI for each pod."""
        pod = self.pod
        if self.record is not None or pod is None or pod.is_over or pod.is_terminating:
            return
        self.record_uid += 1
        self.is_deleted_by_hand = False
        self.kept = {}
        interfaces = tuple(
            Interface(name=f"eth{index}", lifetime=one) for index, one in enumerate(self.lifetimes)
        )
        self.record = Record(phase=Phase.NEW, interfaces=interfaces, pod_uid=pod.uid)

    def run_record(self, survives: int = 99) -> bool:
        """The controller of PodENIs, which dies after `survives` commands."""
        if self.record is None:
            return False
        pod = self.pod
        found = step(
            World(
                record=self.record,
                pod=pod,
                node=self.nodes.get(pod.node_name or "") if pod else None,
                enis={one: self.state_of(one) for one in self.wishes},
            ),
            now=self.now,
        )
        if found.takes:
            self.check_taking()
        for command in found.commands[:survives]:
            self.do(command)
        self.check()
        return bool(found.commands)

    def state_of(self, eni_id: ENIId) -> ENIState:
        wish = self.wishes[eni_id]
        phase = Phase.DELETING if wish.is_deleted else wish.phase
        return ENIState(phase=phase, target=wish.target, is_lost=eni_id in self.lost)

    def do(self, command: Command) -> None:
        record = self.record
        assert record is not None
        match command:
            case CreateENIs(interfaces=names, zone_id=zone_id):
                for name in names:
                    self.create(name, zone_id)
            case Attach(eni_ids=ids, target=target):
                for one in ids:
                    self.wishes[one] = replace(self.wishes[one], phase=Phase.BINDING, target=target)
            case Detach(eni_ids=ids):
                for one in ids:
                    self.wishes[one] = replace(self.wishes[one], phase=Phase.DETACHING)
            case DeleteENIs(eni_ids=ids):
                for one in ids:
                    self.wishes[one] = replace(self.wishes[one], is_deleted=True)
            case ForgetENIs(eni_ids=ids):
                assert not set(ids) & self.cloud.keys()
                interfaces = tuple(
                    replace(one, eni_id=None) if one.eni_id in ids else one
                    for one in record.interfaces
                )
                self.record = replace(record, interfaces=interfaces)
            case Claim(pod_uid=uid, node_name=name):
                self.record = replace(record, pod_uid=uid, node_name=name)
            case SetPhase(phase=phase, target=target, is_seen=is_seen):
                seen = self.now if is_seen else record.last_seen
                self.record = replace(record, phase=phase, target=target, last_seen=seen)
            case Forget():
                self.record = replace(record, is_deleted=True)
            case Release():
                assert not set(record.eni_ids) & self.cloud.keys(), "an ENI is left over"
                self.record = None

    def create(self, name: str, zone_id: ZoneId | None) -> None:
        """Make an ENI, by a token: then its NetworkInterface, then the record, as the edge does."""
        record = self.record
        assert record is not None
        lifetime = next(one.lifetime for one in record.interfaces if one.name == name)
        token = f"{self.record_uid}/{name}/{record.pod_uid}"
        if token not in self.tokens:
            eni_id = ENIId(f"eni-{len(self.tokens)}")
            self.tokens[token] = eni_id
            self.cloud[eni_id] = self.eni(eni_id, is_kept=lifetime.is_fixed)
        eni_id = self.tokens[token]
        self.wishes.setdefault(eni_id, Wish(phase=Phase.UNBIND))
        interfaces = tuple(
            replace(one, eni_id=eni_id) if one.name == name else one for one in record.interfaces
        )
        self.record = replace(record, interfaces=interfaces, zone_id=zone_id or ZONE)

    def create_unrecorded(self) -> None:
        """Have the control plane die between a creation and its record."""
        record = self.record
        if record is None or record.phase is not Phase.NEW or record.is_deleted:
            return
        for name in record.missing[:1]:
            token = f"{self.record_uid}/{name}/{record.pod_uid}"
            if token not in self.tokens:
                eni_id = ENIId(f"eni-{len(self.tokens)}")
                lifetime = next(one.lifetime for one in record.interfaces if one.name == name)
                self.tokens[token] = eni_id
                self.cloud[eni_id] = self.eni(eni_id, is_kept=lifetime.is_fixed)

    def eni(self, eni_id: ENIId, *, is_kept: bool) -> ENI:
        number = len(self.tokens)
        address = IPv4Address("10.0.0.0") + number
        return ENI(
            id=eni_id,
            mac=MacAddress(f"00:16:3e:00:00:{number:02x}"),
            type=ENIType.SECONDARY,
            status=ENIStatus.AVAILABLE,
            vpc_id=VpcId("vpc-1"),
            vswitch_id=VSwitchId("vsw-1"),
            zone_id=ZONE,
            primary_ipv4=address,
            ipv4=(address,),
            creation_time=f"{self.time()}",
            tags=(*tags_of("c1", str(self.record_uid)), ("kept", str(is_kept))),
        )

    def time(self) -> str:
        return datetime.fromtimestamp(self.now, UTC).isoformat()

    def run_eni(self, eni_id: ENIId, *, is_heard: bool = True) -> bool:
        """The controller of NetworkInterfaces; not `is_heard`: its reports are lost."""
        wish = self.wishes.get(eni_id)
        if wish is None or wish.is_resting:
            return False
        match step_eni(wish, self.cloud.get(eni_id)):
            case AttachENI(target=target):
                self.attach(eni_id, target)
            case DetachENI():
                self.begin_detach(eni_id)
            case DeleteENI():
                self.delete(eni_id)
            case Report() as report if is_heard:
                self.wishes[eni_id] = replace(wish, phase=report.phase, target=report.target)
                (self.lost.add if report.is_lost else self.lost.discard)(eni_id)
            case ReleaseENI() if is_heard:
                del self.wishes[eni_id]
            case _:
                return False
        return True

    def sweep(self) -> None:
        record = self.record
        owned = {*self.wishes, *(record.eni_ids if record else ())}
        creating = {str(self.record_uid)} if record is not None and record.missing else set()
        for one in find_garbage(self.cloud.values(), owned=owned, creating=creating, now=self.now):
            if one.place is not None:
                self.put_off(self.cloud[one.eni_id])
            del self.cloud[one.eni_id]

    # The cloud.

    def attach(self, eni_id: ENIId, target: Target) -> None:
        if any(one.instance_id == target.instance_id for one in self.nodes.values()):
            self.cloud[eni_id] = replace(
                self.cloud[eni_id],
                status=ENIStatus.ATTACHING,
                instance_id=target.instance_id,
                trunk_eni_id=target.trunk_eni_id,
                device_index=7,
            )

    def begin_detach(self, eni_id: ENIId) -> None:
        eni = self.cloud[eni_id]
        holder = self.used.get(eni_id)
        if holder is not None and holder[1] == self.detached.get(eni_id, 0):
            assert not self.is_alive(holder[0]), f"{eni_id} is taken from {holder[0]}, which runs"
        self.cloud[eni_id] = replace(eni, status=ENIStatus.DETACHING)

    def delete(self, eni_id: ENIId) -> None:
        if self.is_fixed(eni_id) and not self.is_deleted_by_hand and eni_id in self.used:
            ttl_s = self.lifetimes[self.index_of(eni_id)].ttl_s
            assert ttl_s is not None, "what is kept for ever is deleted"
            assert self.now >= self.pod_gone_at + ttl_s, "deleted before its time"
        del self.cloud[eni_id]

    def index_of(self, eni_id: ENIId) -> int:
        token = next(token for token, one in self.tokens.items() if one == eni_id)
        return int(token.split("/")[1].removeprefix("eth"))

    def put_off(self, eni: ENI) -> None:
        self.detached[eni.id] = self.detached.get(eni.id, 0) + 1
        self.cloud[eni.id] = replace(
            eni,
            status=ENIStatus.AVAILABLE,
            instance_id=None,
            trunk_eni_id=None,
            device_index=None,
        )

    def settle_cloud(self) -> None:
        """Have what is under way arrive."""
        for eni in list(self.cloud.values()):
            if eni.status is ENIStatus.ATTACHING:
                self.cloud[eni.id] = replace(eni, status=ENIStatus.IN_USE)
            elif eni.status is ENIStatus.DETACHING:
                self.put_off(eni)

    # What must never be.

    def is_alive(self, uid: str) -> bool:
        return self.pod is not None and self.pod.uid == uid and not self.pod.is_over

    def check_taking(self) -> None:
        record = self.record
        assert record is not None
        if record.pod_uid and (record.phase is Phase.BIND or not self.is_deleted_by_hand):
            assert not self.is_alive(record.pod_uid), "something is taken from a pod that runs"

    def check(self) -> None:
        """Note who uses which ENI, as the agent would: the pod that a bound PodENI names."""
        record = self.record
        if record is None or record.phase is not Phase.BIND or not self.is_alive(record.pod_uid):
            return
        for one in record.interfaces:
            assert one.eni_id is not None
            holder = self.used.get(one.eni_id)
            count = self.detached.get(one.eni_id, 0)
            if holder is not None and holder[0] != record.pod_uid:
                assert holder[1] < count, "two pods have one ENI"
            self.used[one.eni_id] = (record.pod_uid, count)
            if one.lifetime.is_fixed:
                assert self.kept.setdefault(one.name, one.eni_id) == one.eni_id or not (
                    self.was_promised(one)
                ), "another ENI for the same name"
                self.kept[one.name] = one.eni_id

    def was_promised(self, one: Interface) -> bool:
        """Return whether the ENI that the name had still exists."""
        return self.kept[one.name] in self.cloud

    def settle(self) -> None:
        """Run everything until nothing happens any more."""
        for _ in range(200):
            before = repr((self.record, self.wishes, self.cloud, sorted(self.lost)))
            self.run_pod()
            self.run_record()
            for eni_id in list(self.wishes):
                self.run_eni(eni_id)
            self.settle_cloud()
            if before == repr((self.record, self.wishes, self.cloud, sorted(self.lost))):
                return
        raise AssertionError("it does not come to rest")
