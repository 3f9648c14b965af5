"""A pod that thousands of policies select: each class asks the rules that name it, not all."""

from __future__ import annotations

from terway.policy.cluster import Protocol
from terway.policy.compiling.atoms import Atom, Special
from terway.policy.compiling.rulesets import Clause, alternatives
from terway.policy.policies import Action
from terway.policy.ports import NOTHING, PortSet, ports_of


def port(number: int) -> PortSet:
    return ports_of(Protocol.TCP, number, number)


def atom() -> Atom:
    return Atom(what=Special.NAMED)


def test_each_atom_leads_to_the_rules_that_name_it_and_to_no_other():
    atoms = [atom() for _ in range(3)]
    clauses = [
        Clause(action=Action.ACCEPT, atoms=frozenset({one, atoms[-1]}), ports=port(number))
        for number, one in enumerate(atoms[:2], 80)
    ]

    found = alternatives(clauses)

    assert [list(found.by_atom[one]) for one in atoms] == [[clauses[0]], [clauses[1]], clauses]


def test_what_any_rule_allows_is_allowed():
    one, other = atom(), atom()
    found = alternatives(
        [
            Clause(action=Action.ACCEPT, atoms=frozenset({one}), ports=port(80)),
            Clause(action=Action.ACCEPT, atoms=frozenset({one, other}), ports=port(81)),
            Clause(action=Action.ACCEPT, atoms=None, ports=port(82)),
        ]
    )

    assert found.hits(frozenset({one}), {}) == port(80) | port(81) | port(82)
    assert found.hits(frozenset({other}), {}) == port(81) | port(82)
    assert found.hits(frozenset({atom()}), {}) == port(82)
    assert alternatives([]).hits(frozenset({one}), {}) == NOTHING
