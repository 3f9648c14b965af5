"""Which tree does the text of an expression stand for? Recursive descent over the grammar."""

from __future__ import annotations

from terway.lab.kubeapi.cel.syntax import (
    Bind,
    Call,
    Each,
    Has,
    Index,
    ListOf,
    Literal,
    MapOf,
    Name,
    Node,
    Operation,
    Select,
)
from terway.lab.kubeapi.cel.tokens import CompileError, Token, tokens_of

_LEVELS = (("||",), ("&&",), ("<", "<=", ">=", ">", "==", "!=", "in"), ("+", "-"), ("*", "/", "%"))
_CONSTANTS = {"true": True, "false": False, "null": None}
_EACH = ("all", "exists", "exists_one", "map", "filter")
_NAMESPACES = ("optional", "cel")
# What Kubernetes has where a field's name is no identifier.
_ESCAPED = (("__underscores__", "__"), ("__dot__", "."), ("__dash__", "-"), ("__slash__", "/"))
_MOST_DEEP = 250


def parse(text: str) -> Node:
    """Return the tree of an expression. Raises CompileError."""
    parser = _Parser(text)
    try:
        tree = parser.expression()
    except RecursionError as error:
        raise CompileError("expression recursion limit exceeded: 250", 0) from error
    parser.end()
    return tree


def unescaped(name: str) -> str:
    """Return the field that a name in an expression stands for."""
    for written, meant in _ESCAPED:
        name = name.replace(written, meant)
    if name.startswith("__") and name.endswith("__") and len(name) > 4:
        return name[2:-2]  # a word of the language, as __namespace__
    return name


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = tuple(tokens_of(text))
        self._next = 0
        self._depth = 0

    @property
    def _token(self) -> Token:
        return self._tokens[self._next]

    def _is(self, *signs: str) -> bool:
        return self._token.kind != "literal" and self._token.text in signs

    def _take(self, *signs: str) -> Token | None:
        if not self._is(*signs):
            return None
        self._next += 1
        return self._tokens[self._next - 1]

    def _need(self, sign: str) -> Token:
        found = self._take(sign)
        if found is None:
            raise self._trouble(f"expecting '{sign}'")
        return found

    def _trouble(self, why: str = "") -> CompileError:
        shown = f"Syntax error: mismatched input '{self._token.text}'"
        return CompileError(f"{shown} {why}".strip(), self._token.at)

    def end(self) -> None:
        """Refuse anything that is left."""
        if self._token.kind != "end":
            raise self._trouble("expecting <EOF>")

    def expression(self) -> Node:
        """Return the next expression."""
        self._depth += 1
        if self._depth > _MOST_DEEP:
            raise CompileError("expression recursion limit exceeded: 250", self._token.at)
        found = self._binary(0)
        if sign := self._take("?"):
            yes = self._binary(0)
            self._need(":")
            found = Operation(at=sign.at, sign="?:", operands=(found, yes, self.expression()))
        self._depth -= 1
        return found

    def _binary(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        found = self._binary(level + 1)
        while sign := self._take(*_LEVELS[level]):
            operands = (found, self._binary(level + 1))
            found = Operation(at=sign.at, sign=sign.text, operands=operands)
        return found

    def _unary(self) -> Node:
        sign = self._take("!", "-")
        if sign is None:
            return self._member()
        if sign.text == "-" and isinstance(self._token.value, int | float):
            return self._literal(is_negative=True)
        return Operation(at=sign.at, sign=f"{sign.text}_", operands=(self._unary(),))

    def _literal(self, *, is_negative: bool = False) -> Node:
        token = self._token
        self._next += 1
        value = -token.value if is_negative else token.value
        if type(value) is int and value >= 1 << 63:
            raise CompileError("invalid int literal", token.at)
        return Literal(at=token.at, value=value)

    def _member(self) -> Node:
        found = self._primary()
        while sign := self._take(".", ".?", "[", "[?"):
            is_optional = sign.text.endswith("?")
            if sign.text.startswith("["):
                index = self.expression()
                self._need("]")
                found = Index(at=sign.at, operand=found, index=index, is_optional=is_optional)
                continue
            field = self._name()
            if not is_optional and self._take("("):
                found = _method(found, field, self._list(")"))
            else:
                name = unescaped(field.text)
                found = Select(at=sign.at, operand=found, field=name, is_optional=is_optional)
        return found

    def _name(self) -> Token:
        if self._token.kind != "name":
            raise self._trouble("expecting IDENTIFIER")
        self._next += 1
        return self._tokens[self._next - 1]

    def _primary(self) -> Node:  # noqa: PLR0911 - a branch per form
        token = self._token
        if token.kind == "literal":
            return self._literal()
        if self._take("("):
            inner = self.expression()
            self._need(")")
            return inner
        if self._take("["):
            return ListOf(at=token.at, items=self._list("]"))
        if self._take("{"):
            return MapOf(at=token.at, entries=self._entries())
        self._take(".")
        name = self._name()
        if name.text in _CONSTANTS:
            return Literal(at=name.at, value=_CONSTANTS[name.text])
        if self._take("("):
            return _function(name, self._list(")"))
        return Name(at=name.at, name=name.text)

    def _list(self, closing: str) -> tuple[Node, ...]:
        found: list[Node] = []
        while not self._take(closing):
            if found:
                self._need(",")
                if closing == "]" and self._take(closing):
                    break
            found.append(self.expression())
        return tuple(found)

    def _entries(self) -> tuple[tuple[Node, Node], ...]:
        found: list[tuple[Node, Node]] = []
        while not self._take("}"):
            if found:
                self._need(",")
                if self._take("}"):
                    break
            key = self.expression()
            self._need(":")
            found.append((key, self.expression()))
        return tuple(found)


def _function(name: Token, arguments: tuple[Node, ...]) -> Node:
    if name.text != "has":
        return Call(at=name.at, function=name.text, arguments=arguments)
    match arguments:
        case (Select(operand=operand, field=field),):
            return Has(at=name.at, operand=operand, field=field)
        case _:
            raise CompileError("invalid argument to has() macro", name.at)


def _method(target: Node, name: Token, arguments: tuple[Node, ...]) -> Node:
    if name.text in _EACH and len(arguments) >= 2:
        return _each(target, name, arguments)
    match target, arguments:
        case Name(name="cel"), (Name(name=variable), value, body) if name.text == "bind":
            return Bind(at=name.at, variable=variable, value=value, body=body)
        case _:
            pass
    if isinstance(target, Name) and target.name in _NAMESPACES:
        return Call(at=name.at, function=f"{target.name}.{name.text}", arguments=arguments)
    return Call(at=name.at, function=name.text, target=target, arguments=arguments)


def _each(target: Node, name: Token, arguments: tuple[Node, ...]) -> Node:
    match arguments:
        case (Name(name=variable), body):
            return Each(at=name.at, macro=name.text, operand=target, variable=variable, body=body)
        case (Name(name=variable), condition, body) if name.text == "map":
            return Each(
                at=name.at,
                macro="map",
                operand=target,
                variable=variable,
                body=body,
                condition=condition,
            )
        case _:
            raise CompileError("argument must be a simple name", name.at)
