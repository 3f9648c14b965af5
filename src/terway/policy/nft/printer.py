"""What must be done to a table of nftables, so that it enforces what was compiled?

A printer knows what it has printed; each change becomes operations on what is different. Where
the kernel refused them, or the table is not as it was printed, `adopt` prints all anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from terway.model.address import Family, IPAddress, family_of
from terway.model.nft import AddTable, Chain, Element, Table, Transactions
from terway.model.nft_rule import Verdict
from terway.policy.compiled import Change, ClassId, Compiled, RuleSet, RuleSetId
from terway.policy.nft.batch import Batch, Part
from terway.policy.nft.names import INPUT, OUTPUT, Names, next_names
from terway.policy.nft.port_use import PortUse
from terway.policy.nft.seats import Hooks, Seats
from terway.policy.nft.skeleton import (
    HOST_MAPS,
    HOST_SETS,
    NET_MAPS,
    FlowLog,
    Options,
    Place,
    base_chains,
    common_chains,
    rule_set_chains,
    side_maps,
)
from terway.policy.nft.state import SHARE_FROM, Hosts, Printed, net_elements, shared_ports
from terway.policy.ports import PortSet


class Printer:
    """Prints one place. Not for two threads at once; nothing is done here, only said."""

    def __init__(
        self, place: Place, options: Options | None = None, *, share_from: int = SHARE_FROM
    ) -> None:
        self._place = place
        self._options = options or Options()
        self._share_from = share_from
        self._names = Names()
        self._reset(Compiled())

    def _reset(self, compiled: Compiled) -> None:
        self._hosts = Hosts(compiled.hosts)
        self._nets = compiled.nets
        self._printed: dict[RuleSetId, Printed] = {}
        self._users: dict[ClassId, set[RuleSetId]] = {}
        self._ports = PortUse(self._names)
        self._seats = Seats(self._place, self._names)
        self._has_own_node = False
        self._has_everybody = False

    def adopt(self, compiled: Compiled, hooks: Hooks, actual: Table | None) -> Transactions:
        """Return how `actual` (None: there is no table) becomes the wish, whatever is in it.

        All is made anew beside what is there. The switch gives the chains at the hooks their new
        rules; what they led to before is removed later, for packets that are still in there.
        """
        self._names = next_names(actual)
        self._reset(compiled)
        batch = Batch()
        batch.make.first(AddTable())
        for name, shape in side_maps(self._place, self._names).items():
            batch.make.set(name, shape)
        for name, rules in common_chains(self._place, self._names, self._options).items():
            batch.make.chain(name, rules)
        for number, rule_set in compiled.rule_sets.items():
            self._make(number, rule_set, batch)
        self._seats.turn(compiled.sides, hooks, self._printed, batch)
        self._has_own_node = self._seats.needs_own_node
        chains = base_chains(self._place, self._names, has_own_node=self._has_own_node)
        _exchange({} if actual is None else actual.chains, chains, batch)
        for name in () if actual is None else actual.sets:
            batch.remove.drop_set(name)
        return batch.transactions()

    def change(self, change: Change, hooks: Hooks) -> Transactions:
        """Return how the table becomes what the change makes of it.

        `hooks` are all interfaces that pods have here now, not only those that changed.
        """
        batch = Batch()
        asked = self._asked(change)
        before = {number: self._verdicts(number, hosts) for number, hosts in asked.items()}
        released = self._take_verdicts(change, batch)
        self._take_hosts(change, batch)
        for number, had in before.items():
            self._turn_hosts(number, had, batch)
        self._take_nets(change, batch)
        for number, rule_set in change.rule_sets.items():
            if rule_set is not None:
                self._make(number, rule_set, batch)
        self._seats.turn(change.sides, hooks, self._printed, batch)
        self._turn_own_node(batch)
        for number, rule_set in change.rule_sets.items():
            if rule_set is None:
                self._unmake(number, batch)
        self._ports.leave(released, batch)
        return batch.transactions()

    def log(self, flow_log: FlowLog | None) -> Transactions:
        """Return how the table begins to tell of connections, tells otherwise, or (None) stops."""
        self._options = Options(is_rejecting=self._options.is_rejecting, flow_log=flow_log)
        batch = Batch()
        chains = common_chains(self._place, self._names, self._options)
        for name in ("log_allowed", "log_denied"):
            batch.switch.rules(self._names.of(name), chains[self._names.of(name)])
        return batch.transactions()

    def _asked(self, change: Change) -> dict[RuleSetId, set[IPAddress]]:
        """Return the hosts that each rule set in the table may come to judge otherwise."""
        asked: dict[RuleSetId, set[IPAddress]] = {}
        users: dict[ClassId, set[RuleSetId]] = {}
        for number, class_id in change.verdicts:
            asked.setdefault(number, set()).update(self._hosts.of(class_id))
            users.setdefault(class_id, set()).add(number)
        shared = {number for number, one in self._printed.items() if one.everybody is not None}
        for address, becomes in change.hosts.items():
            judges = set(shared)
            for one in _given(self._hosts.classes.get(address), becomes):
                judges |= users.get(one, set()) | self._users.get(one, set())
            for number in judges:
                asked.setdefault(number, set()).add(address)
        gone = {number for number, one in change.rule_sets.items() if one is None}
        return {number: hosts for number, hosts in asked.items() if number not in gone}

    def _verdicts(
        self, number: RuleSetId, hosts: Iterable[IPAddress]
    ) -> dict[IPAddress, Verdict | None]:
        printed, classes = self._printed[number], self._hosts.classes
        return {host: printed.verdict(classes.get(host), self._names) for host in hosts}

    def _take_verdicts(self, change: Change, batch: Batch) -> list[PortSet]:
        """Note the new entries of rule sets; return the ports that are used once less."""
        released: list[PortSet] = []
        for (number, class_id), ports in change.verdicts.items():
            printed = self._printed[number]
            old = printed.verdicts.pop(class_id, None)
            if old is not None:
                released.append(old)
                self._users[class_id].discard(number)
            if ports is not None:
                self._ports.take(ports, batch)
                printed.verdicts[class_id] = ports
                self._users.setdefault(class_id, set()).add(number)
        return released

    def _take_hosts(self, change: Change, batch: Batch) -> None:
        for address, class_id in change.hosts.items():
            was_known = address in self._hosts.classes
            self._hosts.put(address, class_id)
            if not self._has_everybody or was_known == (class_id is not None):
                continue
            family = family_of(address)
            name, shape = self._names.everybody(family), HOST_SETS[family]
            turn = batch.switch.remove if was_known else batch.switch.add
            turn(name, shape, (Element(address.packed),))

    def _turn_hosts(
        self, number: RuleSetId, before: Mapping[IPAddress, Verdict | None], batch: Batch
    ) -> None:
        name = self._printed[number].name
        for host, now in self._verdicts(number, before).items():
            was = before[host]
            if was == now:
                continue
            family = family_of(host)
            place, shape = self._names.hosts(name, family), HOST_MAPS[family]
            if was is not None:
                batch.switch.remove(place, shape, (Element(host.packed, None, was),))
            if now is not None:
                batch.switch.add(place, shape, (Element(host.packed, None, now),))

    def _take_nets(self, change: Change, batch: Batch) -> None:
        """Make interval maps anew where they are different now, and rules that look into them."""
        touched = {number for number, _class_id in change.verdicts}
        if change.nets is not None:
            self._nets = change.nets
            touched = {*self._printed} - change.rule_sets.keys()
        classes = {net.class_id for net in self._nets}
        for number in touched:
            printed = self._printed[number]
            if not any(printed.nets.values()) and printed.verdicts.keys().isdisjoint(classes):
                continue
            nets = net_elements(self._nets, printed.verdicts, self._names)
            if nets != printed.nets:
                self._renew_nets(printed, nets, batch)

    def _renew_nets(
        self, printed: Printed, nets: dict[Family, tuple[Element, ...]], batch: Batch
    ) -> None:
        for family, elements in nets.items():
            if elements == printed.nets[family]:
                continue
            old = printed.chain(self._names).nets.get(family)
            if old is not None:
                batch.remove.drop_set(old)
            printed.version[family] += 1
            printed.nets[family] = elements
            self._make_nets(printed, family, batch.make)
        for name, rules in rule_set_chains(printed.chain(self._names), self._names).items():
            batch.switch.rules(name, rules)

    def _make_nets(self, printed: Printed, family: Family, part: Part) -> None:
        name = printed.chain(self._names).nets.get(family)
        if name is not None:
            part.set(name, NET_MAPS[family], printed.nets[family])

    def _make(self, number: RuleSetId, rule_set: RuleSet, batch: Batch) -> None:
        printed = Printed(
            name=self._names.rule_set(number, rule_set.direction),
            direction=rule_set.direction,
            default=rule_set.default,
            verdicts=dict(rule_set.verdicts),
            everybody=shared_ports(rule_set, self._hosts, self._share_from),
            nets=net_elements(self._nets, rule_set.verdicts, self._names),
            version=dict.fromkeys(Family, 0),
        )
        self._printed[number] = printed
        for class_id in printed.verdicts:
            self._users.setdefault(class_id, set()).add(number)
        for ports in printed.ports():
            self._ports.take(ports, batch)
        if printed.everybody is not None:
            self._make_everybody(batch)
        for family in Family:
            name = self._names.hosts(printed.name, family)
            batch.make.set(name, HOST_MAPS[family], self._host_elements(printed, family))
            self._make_nets(printed, family, batch.make)
        for name, rules in rule_set_chains(printed.chain(self._names), self._names).items():
            batch.make.chain(name, rules)

    def _host_elements(self, printed: Printed, family: Family) -> Iterator[Element]:
        classes = self._hosts.classes
        if printed.everybody is not None:
            hosts: Iterable[IPAddress] = classes
        else:
            hosts = (host for one in printed.verdicts for host in self._hosts.of(one))
        for host in hosts:
            if family_of(host) is family:
                verdict = printed.verdict(classes[host], self._names)
                if verdict is not None:
                    yield Element(host.packed, None, verdict)

    def _make_everybody(self, batch: Batch) -> None:
        if self._has_everybody:
            return
        self._has_everybody = True
        for family in Family:
            hosts = (host for host in self._hosts.classes if family_of(host) is family)
            elements = tuple(Element(host.packed) for host in hosts)
            batch.make.set(self._names.everybody(family), HOST_SETS[family], elements)

    def _unmake(self, number: RuleSetId, batch: Batch) -> None:
        printed = self._printed.pop(number)
        for class_id in printed.verdicts:
            self._users[class_id].discard(number)
        chain = printed.chain(self._names)
        for name in rule_set_chains(chain, self._names):
            batch.remove.drop_chain(name)
        for family in Family:
            batch.remove.drop_set(self._names.hosts(printed.name, family))
        for name in chain.nets.values():
            batch.remove.drop_set(name)
        self._ports.leave(printed.ports(), batch)
        if self._has_everybody and all(one.everybody is None for one in self._printed.values()):
            self._has_everybody = False
            for family in Family:
                batch.remove.drop_set(self._names.everybody(family))

    def _turn_own_node(self, batch: Batch) -> None:
        """Have the hooks for what pods send to the node while a pod needs them."""
        is_asked = self._seats.needs_own_node
        if is_asked == self._has_own_node:
            return
        self._has_own_node = is_asked
        chains = base_chains(self._place, self._names, has_own_node=True)
        for name in (INPUT, OUTPUT):
            if is_asked:
                batch.switch.chain(name, chains[name].rules, chains[name].base)
            else:
                batch.remove.drop_chain(name)


def _exchange(old: Mapping[str, Chain], new: Mapping[str, Chain], batch: Batch) -> None:
    """Put new chains at the hooks in the place of all that was there.

    A chain at a hook stays, with other rules: of two, a packet could pass the new one while it is
    empty yet, and the old one when it is empty already.
    """
    for name, chain in new.items():
        if name in old and old[name].base == chain.base:
            batch.switch.rules(name, chain.rules)
            continue
        if name in old:
            batch.switch.replace_chain(name)
        batch.switch.chain(name, chain.rules, chain.base)
    for name in sorted(old.keys() - new.keys()):
        batch.remove.drop_chain(name)


def _given(*classes: ClassId | None) -> Iterator[ClassId]:
    return (one for one in classes if one is not None)
