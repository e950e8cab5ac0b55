"""Conditions: which are valid, where an error is, and that the SQL means what the tree means."""

from __future__ import annotations

import operator
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.stocks import conditions
from pipeline.stocks.conditions import (
    LONGEST,
    NUMBER,
    TEXT,
    Both,
    Comparison,
    ConditionError,
    Field,
    IsNull,
    Name,
    Not,
    Value,
    parse,
    to_sql,
)
from pipeline.stocks.query import FIELDS
from pipeline.storage import database

SMALL = {"a": Field("t.a", NUMBER), "b": Field("t.b", NUMBER), "s": Field("t.s", TEXT)}


def test_conditions_as_typed_become_parameterized_sql():
    node = parse("price_to_earnings < 15 and return_on_equity > 15% and not (region = 'fr' or sector is null)", FIELDS)
    sql, values = to_sql(node, FIELDS)
    multiple, share = FIELDS["price_to_earnings"].sql, FIELDS["return_on_equity"].sql
    assert sql == f"({multiple} < %s) AND ({share} > %s) AND (NOT ((s.country_code = %s) OR (s.sector IS NULL)))"
    assert values == [15.0, 0.15, "fr"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.5B", 1.5e9), ("300m", 3e8), ("2T", 2e12), ("10k", 1e4), ("-.5", -0.5), ("+3.", 3.0), ("1e3", 1000.0), ("12.5%", 0.125)],
)
def test_numbers_may_have_a_suffix(text, value):
    node = parse(f"a>{text}", SMALL)
    assert node == Comparison(Name("a"), ">", Value(value))


def test_columns_can_be_compared_and_keywords_ignore_case():
    assert parse("A <> B OR a IS NOT NULL", SMALL) == Both("or", (Comparison(Name("a"), "<>", Name("b")), IsNull("a", negated=True)))


def test_not_binds_tighter_than_and_which_binds_tighter_than_or():
    node = parse("not a < 1 or a > 2 and b = 3", SMALL)
    one, two, three = (
        Comparison(Name(name), sign, Value(value)) for name, sign, value in (("a", "<", 1.0), ("a", ">", 2.0), ("b", "=", 3.0))
    )
    assert node == Both("or", (Not(one), Both("and", (two, three))))


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("", 0, "expected a column or a value, found the end"),
        ("price_to_earning < 15", 0, "did you mean price_to_earnings?"),
        ("price_to_earnings < 15 and", 26, "found the end"),
        ("price_to_earnings 15", 18, "expected <"),
        ("price_to_earnings < 15 return_on_equity > 1", 23, "expected and, or"),
        ("(price_to_earnings < 15", 23, "closing parenthesis"),
        ("price_to_earnings < 15)", 22, "expected and, or"),
        ("region = fr", 9, "quotes"),
        ("region < 'fr'", 7, "= and != only"),
        ("price_to_earnings < 'fr'", 20, "expected a number"),
        ("region = 5", 9, "text in quotes"),
        ("price_to_earnings < region", 20, "can't be compared"),
        ("1 < 2", 0, "must be a column"),
        ("5 is null", 0, "only a column"),
        ("period_end > '2026-13-01'", 13, "a day"),
        ("price_to_earnings < 1e999", 20, "too large"),
        ("price_to_earnings < 15; drop table stock", 22, "not expected here"),
        ("region = 'fr", 9, "closing quote"),
        ("price_to_earnings < 15abc", 20, "not expected here"),
        ("region = 'a\tb'", 9, "control character"),
        ("(" * 60 + "price_to_earnings < 1" + ")" * 60, 50, "deep"),
        ("not " * 60 + "price_to_earnings < 1", 200, "deep"),
    ],
)
def test_unreadable_conditions_are_refused_with_their_position(text, position, words):
    with pytest.raises(ConditionError, match=re.escape(words)) as caught:
        parse(text, FIELDS)
    assert caught.value.position == position
    assert caught.value.shown(text).splitlines()[1].index("^") == position


def test_a_very_long_condition_is_refused():
    with pytest.raises(ConditionError, match="longer"):
        parse("a < 1" + " or a < 1" * LONGEST, SMALL)


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused_and_never_reaches_the_sql(text):
    try:
        node = parse(text, FIELDS)
    except ConditionError as error:
        position = error.position
    else:
        position = 0
        sql, _ = to_sql(node, FIELDS)
        assert set(sql) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.<>=%() ")
    assert 0 <= position <= len(text)


NUMBERS = st.sampled_from([-1.5, 0.0, 0.25, 1.0, 3.0, 1e9])
LEAVES = st.one_of(
    st.builds(
        Comparison, st.sampled_from([Name("a"), Name("b")]), st.sampled_from(["<", "<=", ">", ">=", "=", "<>"]), st.builds(Value, NUMBERS)
    ),
    st.builds(Comparison, st.builds(Value, NUMBERS), st.sampled_from(["<", ">="]), st.sampled_from([Name("a"), Name("b")])),
    st.builds(Comparison, st.just(Name("a")), st.sampled_from(["<", "="]), st.just(Name("b"))),
    st.builds(
        Comparison, st.just(Name("s")), st.sampled_from(["=", "<>"]), st.builds(Value, st.sampled_from(["", "it's", 'a "b"', "%s", "ü"]))
    ),
    st.builds(IsNull, st.sampled_from(["a", "b", "s"]), st.booleans()),
)
NODES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(Not, inner), st.builds(Both, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3).map(tuple))
    ),
    max_leaves=8,
)


def written(node: conditions.Node) -> str:
    """The tree as text, with every parenthesis."""
    if isinstance(node, Comparison):
        return f"{_operand(node.left)} {node.operator} {_operand(node.right)}"
    if isinstance(node, IsNull):
        return f"{node.name} is {'not ' if node.negated else ''}null"
    if isinstance(node, Not):
        return f"not ({written(node.inner)})"
    return f" {node.word} ".join(f"({written(part)})" for part in node.parts)


def _operand(operand: conditions.Operand) -> str:
    if isinstance(operand, Name):
        return operand.name
    return repr(operand.value) if isinstance(operand.value, float) else "'" + operand.value.replace("'", "''") + "'"


@given(NODES)
@settings(max_examples=200, deadline=None)
def test_a_formatted_condition_reads_back_as_the_same_tree(node):
    assert parse(written(node), SMALL) == node


ROWS = [(a, b, s) for a in (None, -1.5, 0.25, 3.0) for b in (None, 0.0, 3.0) for s in (None, "", "it's", "%s")]
OPERATORS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq, "<>": operator.ne}


def holds(node: conditions.Node, row: dict[str, object]) -> bool | None:
    """The condition by three-valued logic; None is unknown."""
    if isinstance(node, Comparison):
        left, right = (row[side.name] if isinstance(side, Name) else side.value for side in (node.left, node.right))
        return None if left is None or right is None else OPERATORS[node.operator](left, right)
    if isinstance(node, IsNull):
        return (row[node.name] is None) != node.negated
    if isinstance(node, Not):
        inner = holds(node.inner, row)
        return None if inner is None else not inner
    found = [holds(part, row) for part in node.parts]
    deciding = node.word == "or"
    return deciding if deciding in found else None if None in found else not deciding


def test_postgresql_finds_exactly_the_rows_that_satisfy_the_condition(postgres):
    connection = database.connect(postgres)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE t (a double precision, b double precision, s text)")
        cursor.executemany("INSERT INTO t VALUES (%s, %s, %s)", ROWS)

        @given(NODES)
        @settings(max_examples=150, deadline=None)
        def check(node):
            sql, values = to_sql(node, SMALL)
            cursor.execute(f"SELECT a, b, s FROM t WHERE {sql}", values)
            assert sorted(cursor.fetchall(), key=repr) == sorted(
                (row for row in ROWS if holds(node, dict(zip("abs", row, strict=True)))), key=repr
            )

        check()
    connection.close()
