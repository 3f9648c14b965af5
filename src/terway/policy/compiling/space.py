"""Which atoms match an address, and which addresses does a change touch?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from terway.model.ids import NodeName
from terway.policy.cluster import Pod, PodKey
from terway.policy.compiling.atoms import Atom, AtomTable, Block, Settled, Special
from terway.policy.compiling.classes import ClassKey
from terway.policy.compiling.facts import Facts, Touched
from terway.policy.compiling.index_selectors import PodSelectors
from terway.policy.compiling.nets import Nets, Range
from terway.policy.compiling.rulesets import resolve
from terway.policy.node_addresses import NodeAddresses
from terway.policy.owners import Claim, Owners, claimed
from terway.policy.policies import NodePeer, PodPeer, PortName
from terway.policy.ports import PortSet

_NO_ATOMS: frozenset[Atom] = frozenset()
_NO_NAMES: frozenset[tuple[PortName, PortSet]] = frozenset()
# What matches the pods of a namespace that have the same labels.
_Alike = dict[tuple[str, frozenset[tuple[str, str]]], frozenset[Atom]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dirty:
    """The addresses whose class may be another now.

    In `ranges` only hosts can be; None says that no block changed.
    """

    numbers: set[int]
    ranges: list[Range] | None


class Space:
    """All addresses, and the atoms that match each."""

    __slots__ = (
        "_facts",
        "_named",
        "_node_atoms",
        "_node_peers",
        "_nodes",
        "_own",
        "_own_node",
        "_owners",
        "_pod_atoms",
        "_pod_peers",
        "atoms",
        "blocks",
        "nets",
    )

    def __init__(self, facts: Facts, own_node: NodeName | None) -> None:
        self._facts = facts
        self._own_node = own_node
        self.atoms = AtomTable()
        self._own: Atom | None = None
        self._named: Atom | None = None
        self._owners = Owners()
        self._nodes = NodeAddresses()
        self._node_peers: dict[Atom, NodePeer] = {}
        self._node_atoms: dict[NodeName, frozenset[Atom]] = {}
        self._pod_peers: PodSelectors[Atom] = PodSelectors()
        self._pod_atoms: dict[PodKey, frozenset[Atom]] = {}
        self.blocks: dict[Atom, Block] = {}
        self.nets: Nets[Atom] = Nets()

    def update(self, touched: Touched) -> Dirty:
        """Take in what a batch touched and what became of the atoms; return what that touches."""
        settled = self.atoms.settle()
        dirty = Dirty(numbers=set(), ranges=self._settle_blocks(settled))
        self._settle_pod_peers(settled, dirty.numbers)
        self._settle_node_peers(settled, touched, dirty.numbers)
        alike: _Alike = {}
        for key in touched.pods:
            self._settle_pod(key, dirty.numbers, alike)
        for name, atoms in settled.renamed.items():
            if any(not isinstance(atom.what, PodPeer) for atom in atoms):
                dirty.numbers.update(self._addresses(self._facts.index.with_port(name.name)))
            for atom in atoms:
                if isinstance(atom.what, PodPeer):
                    dirty.numbers.update(self._addresses(self._facts.index.select(atom.what)))
        return dirty

    def owner_of(self, number: int) -> PodKey | None:
        """Return the pod that has an address."""
        return self._owners.of(number)

    def nodes_with(self, number: int) -> Iterable[NodeName]:
        """Return the nodes that have an address."""
        return self._nodes.at(number)

    def key_of(self, number: int) -> ClassKey | None:
        """Return the class of an address that has one of its own; None: that of the net."""
        owner = self._owners.of(number)
        blocks = self.nets.at(number)
        if owner is None:
            atoms = self.atoms_of_nodes(self._nodes.at(number))
            return (atoms | blocks, frozenset()) if atoms else None
        atoms = self._pod_atoms.get(owner, _NO_ATOMS)
        pod = self._facts.pods.get(owner)
        # A pod with the node's network has no address: this one is of an interface that runs on.
        named = None if pod is None or pod.is_host_network else pod
        key = self.class_of(atoms | blocks, named)
        return key if atoms or key[1] else None

    def class_of(self, atoms: frozenset[Atom], owner: Pod | None) -> ClassKey:
        """Return the class of who `atoms` match, with the ports that they are asked by name."""
        if owner is None or not owner.ports or not self.atoms.asking:
            return atoms, _NO_NAMES
        asked = {name for atom in atoms & self.atoms.asking for name in atom.names}
        if not asked and self._named is None:
            return atoms, _NO_NAMES
        if self._named is not None:
            by_anyone = resolve(self._named.names, owner.ports)
            if by_anyone:
                asked.update(by_anyone)
                atoms |= {self._named}
        return atoms, frozenset(resolve(asked, owner.ports).items())

    def atoms_of_nodes(self, names: Iterable[NodeName]) -> frozenset[Atom]:
        """Return what matches an address that only nodes have."""
        return _NO_ATOMS.union(*(self._atoms_of_node(name) for name in names))

    def _atoms_of_node(self, name: NodeName) -> frozenset[Atom]:
        atoms = self._node_atoms.get(name, _NO_ATOMS)
        if self._own is not None and name == self._own_node:
            return atoms | {self._own}
        return atoms

    def _addresses(self, keys: Iterable[PodKey]) -> Iterable[int]:
        return (number for key in keys for number in self._owners.numbers(key))

    def _settle_blocks(self, settled: Settled) -> list[Range] | None:
        """Cut the space anew if blocks changed."""
        changed = [(a, a.what) for a in (*settled.added, *settled.removed)]
        ranges = [r for _, what in changed if isinstance(what, Block) for r in what.ranges]
        if not any(isinstance(what, Block) for _, what in changed):
            return None
        for atom in settled.removed:
            self.blocks.pop(atom, None)
        for atom in settled.added:
            if isinstance(atom.what, Block):
                self.blocks[atom] = atom.what
        self.nets = Nets((atom, block.ranges) for atom, block in self.blocks.items())
        return ranges

    def _settle_pod_peers(self, settled: Settled, dirty: set[int]) -> None:
        gained: dict[PodKey, list[Atom]] = defaultdict(list)
        lost: dict[PodKey, list[Atom]] = defaultdict(list)
        for atom in settled.removed:
            if isinstance(atom.what, PodPeer):
                self._pod_peers.remove(atom.what)
                for key in self._facts.index.select(atom.what):
                    lost[key].append(atom)
        for atom in settled.added:
            if isinstance(atom.what, PodPeer):
                self._put_pod_peer(atom.what, atom)
                for key in self._facts.index.select(atom.what):
                    gained[key].append(atom)
        alike: dict[frozenset[Atom], frozenset[Atom]] = {}
        for key in gained.keys() | lost.keys():
            before = self._pod_atoms.get(key, _NO_ATOMS)
            after = before.union(gained.get(key, ())).difference(lost.get(key, ()))
            self._pod_atoms[key] = alike.setdefault(after, after)
            dirty.update(self._owners.numbers(key))

    def _put_pod_peer(self, peer: PodPeer, atom: Atom) -> None:
        self._pod_peers.ensure(peer, lambda: atom)

    def _settle_pod(self, key: PodKey, dirty: set[int], alike: _Alike) -> None:
        """See what a pod is now: whom it is matched by, and which addresses it claims."""
        pod, attached = self._facts.pods.get(key), self._facts.attached.get(key)
        dirty.update(self._nodes.put_pod(key, pod))
        dirty.update(self._owners.numbers(key))
        claim = Claim(
            is_attached=attached is not None, created_at=pod.created_at if pod else "", key=key
        )
        self._owners.claim(claim, claimed(pod, attached))
        dirty.update(self._owners.numbers(key))
        if pod is None or pod.is_host_network:
            self._pod_atoms.pop(key, None)
            return
        likeness = key.namespace, frozenset(pod.labels.items())
        if likeness not in alike:
            about = self._facts.namespaces.labels(key.namespace)
            found = self._pod_peers.matching(key.namespace, about, pod.labels)
            alike[likeness] = frozenset(found)
        self._pod_atoms[key] = alike[likeness]

    def _settle_node_peers(self, settled: Settled, touched: Touched, dirty: set[int]) -> None:
        is_changed = False
        for atom in settled.removed:
            is_changed |= self._node_peers.pop(atom, None) is not None
            self._put_special(atom, None, dirty)
        for atom in settled.added:
            if isinstance(atom.what, NodePeer):
                self._node_peers[atom] = atom.what
                is_changed = True
            self._put_special(atom, atom, dirty)
        for name in touched.nodes:
            dirty.update(self._nodes.put_node(name, self._facts.nodes.get(name)))
        self._match_nodes(self._facts.nodes if is_changed else touched.nodes, dirty)

    def _put_special(self, atom: Atom, now: Atom | None, dirty: set[int]) -> None:
        if atom.what is Special.NAMED:
            self._named = now
        elif atom.what is Special.OWN_NODE and self._own_node is not None:
            self._own = now
            dirty.update(self._nodes.of(self._own_node))

    def _match_nodes(self, names: Iterable[NodeName], dirty: set[int]) -> None:
        for name in names:
            node = self._facts.nodes.get(name)
            before = self._node_atoms.pop(name, _NO_ATOMS)
            if node is None:
                atoms = _NO_ATOMS
            else:
                peers = self._node_peers.items()
                atoms = frozenset(a for a, peer in peers if peer.nodes.matches(node.labels))
            if atoms:
                self._node_atoms[name] = atoms
            if atoms != before:
                dirty.update(self._nodes.of(name))
