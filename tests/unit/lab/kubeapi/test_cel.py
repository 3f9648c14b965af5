"""Expressions have the values, and the errors, that they have on a real API server."""

from __future__ import annotations

import subprocess
import sys

import pytest

from terway.lab.kubeapi.cel.program import compile_program
from terway.lab.kubeapi.cel.tokens import CompileError
from terway.lab.kubeapi.cel.values import EvaluationError

POD = {
    "metadata": {"name": "a", "annotations": {"k8s.io/x": "y"}},
    "spec": {"n": 3, "half": 0.5, "list": [1, 2, 3], "names": ["b", "a"], "a-b": 1},
}
VARIABLES = {"object": POD, "oldObject": None}
LEAST = -(1 << 63)


def value(text):
    return compile_program(text, frozenset(VARIABLES)).evaluate(VARIABLES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3 - 4 / 2", 5),
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("7.0 / 2.0", 3.5),
        ("0x10 + 1", 17),
        ("3u + 4u", 7),
        ("-9223372036854775808", LEAST),
        ("1 < 2 && 2 <= 2 && 3 > 2 && 3 >= 3", True),
        ("1 == 1.0 && 1 < 1.5", True),
        ("1 == 'a' || true == 1", False),
        ("1 in {true: 1}", False),
        ("1 > 2 ? 'x' : 'y'", "y"),
        ("!(1 in [1, 2,])", False),
        ("[1] + [2] == [1, 2]", True),
        (r"""'a\n\x41é' + "it's" + r'\d' + '''x'''""", "a\nAéit's\\dx"),
        ("b'a' == bytes('a')", True),
        ("null == oldObject", True),
        ("type(1) == int && type('') == string", True),
        ("// nothing\n true", True),
    ],
)
def test_operators_and_literals(text, expected):
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("has(object.metadata.labels)", False),
        ("has(object.metadata.annotations) && 'k8s.io/x' in object.metadata.annotations", True),
        ("object.metadata.annotations['k8s.io/x']", "y"),
        ("object.spec.list.all(x, x > 0)", True),
        ("object.spec.list.exists(x, x == 4)", False),
        ("object.spec.list.exists_one(x, x == 2)", True),
        ("object.spec.list.map(x, x * 2)", [2, 4, 6]),
        ("object.spec.list.map(x, x > 1, x * 2)", [4, 6]),
        ("object.spec.list.filter(x, x != 2)", [1, 3]),
        ("object.metadata.all(key, key != 'labels')", True),
        ("cel.bind(x, object.spec.n, x * x)", 9),
        ("object.?spec.?none.orValue(7)", 7),
        ("object.spec.?n.hasValue() && !object.spec.list[?9].hasValue()", True),
        ("optional.of(1).value() + optional.none().or(optional.of(2)).value()", 3),
        ("object.spec.a__dash__b", 1),
        ("{'a': 1}.a + {'b': 2}['b']", 3),
    ],
)
def test_fields_and_macros(text, expected):
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("size('abc') + object.spec.list.size()", 6),
        ("'abc'.matches('^a.c$') && 'abc'.contains('b') && 'abc'.startsWith('ab')", True),
        ("'a,b,c'.split(',', 2)", ["a", "b,c"]),
        ("' A '.trim().lowerAscii() + 'b'.upperAscii()", "aB"),
        ("'abcd'.substring(1, 3) + 'abc'.replace('b', 'x') + 'abc'.charAt(2)", "bcaxcc"),
        ("['a', 'b'].join('-')", "a-b"),
        ("'%s has %d of %.1f%%'.format(['x', 3, 2.5])", "x has 3 of 2.5%"),
        ("'a1b22'.findAll('[0-9]+')", ["1", "22"]),
        ("object.spec.names.isSorted()", False),
        ("object.spec.list.sum() + object.spec.list.max() - object.spec.list.min()", 8),
        ("'abc'.indexOf('c') + object.spec.list.indexOf(2)", 3),
        ("int('7') + int(2.9)", 9),
        ("string(1) + string(true) + string(1.5)", "1true1.5"),
        ("duration('1h30m') == duration('90m')", True),
        ("timestamp('2026-01-01T00:00:00Z') < timestamp('2026-01-01T00:00:01Z')", True),
        ("string(timestamp('2026-01-01T00:00:00Z') + duration('1s'))", "2026-01-01T00:00:01Z"),
        ("isCIDR('10.0.0.0/8') && cidr('10.0.0.0/8').containsIP('10.1.1.1')", True),
        ("ip('fd00::1').family()", 6),
    ],
)
def test_functions(text, expected):
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 / 0 == 1 || true", True),
        ("false && object.none", False),
        ("[0, 2].exists(x, 4 / x == 2)", True),
        ("[0, 3].all(x, 3 / x > 1)", False),
    ],
)
def test_a_side_that_decides_is_enough(text, expected):
    assert value(text) is expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("object.metadata.labels.x == 'y'", "no such key: labels"),
        ("object.spec.list[3]", "index out of bounds: 3"),
        ("1 / 0", "division by zero"),
        ("1 % 0", "modulus by zero"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("object.spec.n + 'x'", "no such overload"),
        ("object.spec.n && true", "no such overload"),
        ("1 + 1.0", "no such overload"),
        ("'a'.matches('(')", "no such overload: matches"),
        ("int('x')", "strconv.ParseInt: parsing 'x': invalid syntax"),
        ("duration('5 minutes')", 'time: invalid duration "5 minutes"'),
        ("'abc'.substring(9)", "index out of range: 9"),
        ("optional.none().value()", "optional.none() dereference"),
        ("[0, 3].all(x, 3 / x > 0)", "division by zero"),
        ("ip('10.0.0.256')", 'IP Address "10.0.0.256" parse error'),
    ],
)
def test_what_has_no_value_is_an_error(text, words):
    with pytest.raises(EvaluationError) as caught:
        value(text)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("object.a ==", "1:12: Syntax error: mismatched input '<EOF>'"),
        ("foo.bar", "1:1: undeclared reference to 'foo' (in container '')\n | foo.bar\n | ^"),
        ("true &&\n  x", "2:3: undeclared reference to 'x' (in container '')\n |   x\n | ..^"),
        ("object.frob()", "1:8: undeclared reference to 'frob'"),
        ("[1].all(x, y > 1)", "1:12: undeclared reference to 'y'"),
        ("[1].all(1, true)", "1:5: argument must be a simple name"),
        ("has(object)", "1:1: invalid argument to has() macro"),
        ("1 @ 2", "1:3: Syntax error: token recognition error at: '@"),
        ("9223372036854775808", "1:1: invalid int literal"),
        ("'\\q'", "1:1: Syntax error: token recognition error"),
        ("1 2", "1:3: Syntax error: mismatched input '2' expecting <EOF>"),
        ("(" * 300 + ")" * 300, "expression recursion limit exceeded"),
    ],
)
def test_what_is_no_expression_is_refused_where_that_shows(text, words):
    with pytest.raises(CompileError) as caught:
        compile_program(text, frozenset(VARIABLES))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("object.a", "dyn"),
        ("object.a == 1 || has(object.b)", "bool"),
        ("object.a + 'x'", "string"),
        ("object.all(x, x == 1)", "bool"),
        ("true ? 'a' : object.b", "dyn"),
        ("[1].map(x, x)", "list"),
        ("cel.bind(x, 1, size('a'))", "int"),
    ],
)
def test_the_type_is_known_where_no_value_is_needed(text, type_):
    assert compile_program(text, frozenset(VARIABLES)).type == type_


def test_who_has_no_expression_does_not_load_the_language():
    code = "import sys, terway.lab.kubeapi.serve; print('terway.lab.kubeapi.cel' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.strip() == "False"
