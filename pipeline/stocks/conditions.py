"""Turns conditions that people type into SQL with parameters. No part of the text itself gets into the SQL. Pure.

    price_to_earnings < 15 and return_on_equity > 15%
    region = 'fr' and not (debt_to_equity > 1 or debt_to_equity is null)
    market_cap_usd >= 1.5B and price_to_earnings < ev_to_ebit

`market_cap` and `enterprise_value` are in each row's own currency; `market_cap_usd` and `enterprise_value_usd` in dollars.

Comparisons: < <= > >= = !=, `is null`, `is not null`; and, or, not, parentheses. Numbers may end in %, K, M, B or T.
A comparison with NULL is neither true nor false, as in SQL, so such a row is not in the result.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from pipeline.wire.market_cap import UNITS

#: Longest text of a condition, in characters, and deepest nesting.
LONGEST = 2_000
DEEPEST = 50

NUMBER, TEXT, DATE = "number", "text", "date"
#: What the last character of a number may be, in capitals, and what it multiplies by.
FACTORS = {"%": 0.01, **UNITS}
_WORDS = ("and", "or", "not", "is", "null")
_TOKEN = re.compile(
    r"\s*(?:(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?P<factor>[%KkMmBbTt]?)(?![\w.%])"
    r"|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<text>'(?:[^']|'')*'|\"[^\"]*\")"
    r"|(?P<sign><=|>=|!=|<>|==|[=<>()]))",
    re.ASCII,
)


class ConditionError(Exception):
    """An invalid condition. `position` is that of the error, in characters from 0."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position

    def shown(self, text: str) -> str:
        """The condition, and below it a mark at the error with its text."""
        flat = "".join(character if character.isprintable() else " " for character in text)
        return f"{flat}\n{' ' * self.position}^ {self}"


@dataclass(frozen=True)
class Field:
    """A column that conditions may name: its SQL, and the kind of its values."""

    sql: str
    kind: str


@dataclass(frozen=True)
class Name:
    name: str


@dataclass(frozen=True)
class Value:
    value: float | str


Operand = Name | Value


@dataclass(frozen=True)
class Comparison:
    left: Operand
    operator: str
    right: Operand


@dataclass(frozen=True)
class IsNull:
    name: str
    negated: bool = False


@dataclass(frozen=True)
class Not:
    inner: Node


@dataclass(frozen=True)
class Both:
    """Two or more parts joined by `and` or `or`."""

    word: str
    parts: tuple[Node, ...]


Node = Comparison | IsNull | Not | Both


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    position: int
    value: float | str = ""


def parse(text: str, fields: Mapping[str, Field]) -> Node:
    """The condition as a tree. Raises ConditionError."""
    if len(text) > LONGEST:
        raise ConditionError(f"longer than {LONGEST} characters", LONGEST)
    return _Parser(_tokens(text), fields).whole()


def to_sql(node: Node, fields: Mapping[str, Field]) -> tuple[str, list[float | str]]:
    """SQL with `%s` for each value, and the values."""
    if isinstance(node, Comparison):
        left, right = (_operand_sql(side, fields) for side in (node.left, node.right))
        return f"{left[0]} {node.operator} {right[0]}", left[1] + right[1]
    if isinstance(node, IsNull):
        return f"{fields[node.name].sql} IS {'NOT ' if node.negated else ''}NULL", []
    if isinstance(node, Not):
        inner, values = to_sql(node.inner, fields)
        return f"NOT ({inner})", values
    parts = [to_sql(part, fields) for part in node.parts]
    return f" {node.word.upper()} ".join(f"({sql})" for sql, _ in parts), [value for _, values in parts for value in values]


def names_in(node: Node) -> list[str]:
    """The columns that a condition names, without duplicates."""
    if isinstance(node, Comparison):
        found = [side.name for side in (node.left, node.right) if isinstance(side, Name)]
    elif isinstance(node, IsNull):
        found = [node.name]
    else:
        parts = (node.inner,) if isinstance(node, Not) else node.parts
        found = [name for part in parts for name in names_in(part)]
    return list(dict.fromkeys(found))


def _operand_sql(operand: Operand, fields: Mapping[str, Field]) -> tuple[str, list[float | str]]:
    return (fields[operand.name].sql, []) if isinstance(operand, Name) else ("%s", [operand.value])


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    position = 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        start = position + len(text[position:]) - len(text[position:].lstrip())
        if match is None:
            what = "a text without its closing quote" if text[start] in "'\"" else f"{text[start]!r} is not expected here"
            raise ConditionError(what, start)
        position = match.end()
        if match["number"] is not None:
            number = float(match["number"]) * FACTORS.get(match["factor"].upper(), 1.0)
            if not math.isfinite(number):
                raise ConditionError(f"{match['number'][:20]} is too large a number", start)
            found.append(_Token("value", match[0].strip(), start, number))
        elif match["name"] is not None:
            word = match["name"].lower()
            found.append(_Token("word" if word in _WORDS else "name", word, start))
        elif match["text"] is not None:
            quote = match["text"][0]
            value = match["text"][1:-1].replace(quote * 2, quote)
            if not value.isprintable():
                raise ConditionError("a text with a control character", start)
            found.append(_Token("value", match["text"], start, value))
        else:
            found.append(_Token("sign", {"<>": "!=", "==": "="}.get(match["sign"], match["sign"]), start))
    return [*found, _Token("end", "the end", len(text))]


class _Parser:
    """Recursive descent: or → and → not → parentheses or a comparison."""

    def __init__(self, tokens: list[_Token], fields: Mapping[str, Field]) -> None:
        self._tokens = tokens
        self._fields = fields
        self._next = 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._or()
        if self._token.kind != "end":
            raise self._unexpected("and, or, or the end")
        return node

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._token
        self._next += 1
        return token

    def _took(self, text: str) -> bool:
        """Take the next token if it is this word or sign."""
        if self._token.kind in ("word", "sign") and self._token.text == text:
            self._next += 1
            return True
        return False

    def _unexpected(self, expected: str) -> ConditionError:
        found = self._token.text if self._token.kind == "end" else repr(self._token.text)
        return ConditionError(f"expected {expected}, found {found}", self._token.position)

    def _or(self) -> Node:
        return self._chain("or", self._and)

    def _and(self) -> Node:
        return self._chain("and", self._not)

    def _chain(self, word: str, part: object) -> Node:
        assert callable(part)
        parts = [part()]
        while self._took(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else Both(word, tuple(parts))

    def _not(self) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise ConditionError(f"nested more than {DEEPEST} deep", self._token.position)
        try:
            if self._took("not"):
                return Not(self._not())
            if self._took("("):
                node = self._or()
                if not self._took(")"):
                    raise self._unexpected("and, or, or a closing parenthesis")
                return node
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Node:
        left_token = self._token
        left = self._operand()
        if self._took("is"):
            negated = self._took("not")
            if not self._took("null"):
                raise self._unexpected("null")
            if not isinstance(left, Name):
                raise ConditionError("only a column can be null", left_token.position)
            return IsNull(left.name, negated)
        if self._token.kind != "sign" or self._token.text in "()":
            raise self._unexpected("<, <=, >, >=, =, != or is null")
        operator = self._take()
        right_token = self._token
        right = self._operand()
        return self._checked(left, left_token, operator, right, right_token)

    def _operand(self) -> Operand:
        token = self._token
        if token.kind == "value":
            self._take()
            return Value(token.value)
        if token.kind != "name":
            raise self._unexpected("a column or a value")
        if token.text not in self._fields:
            raise ConditionError(f"{token.text[:40]!r} is not a column{self._hint(token.text)}", token.position)
        self._take()
        return Name(token.text)

    def _hint(self, text: str) -> str:
        import difflib  # imported here because only errors need it

        close = difflib.get_close_matches(text, self._fields, 1)
        return f"; did you mean {close[0]}?" if close else " (a text needs quotes: 'fr')"

    def _checked(self, left: Operand, left_token: _Token, operator: _Token, right: Operand, right_token: _Token) -> Comparison:
        """The comparison, if both sides are of the same kind. Raises ConditionError."""
        kinds = [self._fields[side.name].kind if isinstance(side, Name) else None for side in (left, right)]
        kind = kinds[0] or kinds[1]
        if kind is None:
            raise ConditionError("one side of a comparison must be a column", left_token.position)
        if None not in kinds and kinds[0] != kinds[1]:
            raise ConditionError(f"a {kinds[0]} can't be compared with a {kinds[1]}", right_token.position)
        for side, token in ((left, left_token), (right, right_token)):
            if isinstance(side, Value):
                _check_value(side.value, kind, token.position)
        if kind == TEXT and operator.text not in ("=", "!="):
            raise ConditionError("texts can be compared by = and != only", operator.position)
        return Comparison(left, "<>" if operator.text == "!=" else operator.text, right)


def _check_value(value: float | str, kind: str, position: int) -> None:
    if kind == NUMBER and isinstance(value, str):
        raise ConditionError("expected a number", position)
    if kind == TEXT and not isinstance(value, str):
        raise ConditionError("expected a text in quotes, such as 'fr'", position)
    if kind == DATE:
        try:
            if not isinstance(value, str):
                raise ValueError
            date.fromisoformat(value)
        except ValueError:
            raise ConditionError("expected a day in quotes, such as '2026-09-30'", position) from None
