"""Builds the SQL that selects rows of `stock` and `financial_ratios`, for the page, its CSV and export_ratios.py.

Column names come only from FIELDS; every value is a parameter.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.ratios.formulas import RATIOS
from pipeline.stocks import conditions, listed
from pipeline.stocks.catalog import IN_DOLLARS
from pipeline.stocks.conditions import DATE, NUMBER, TEXT, Field
from pipeline.wire.messages import clean_text

# The ratio of the two market caps is the row's own rate to the dollar. PostgreSQL raises an error if a result is beyond what a double
# holds, so absurd rows have no value.
_ENTERPRISE_VALUE_USD = (
    "(CASE WHEN abs(r.enterprise_value) < 1e50 AND r.market_cap BETWEEN 1e-50 AND 1e50 AND r.market_cap_usd BETWEEN 1e-50 AND 1e50 "
    "THEN r.enterprise_value * (r.market_cap_usd / r.market_cap) END)"
)


def finite(sql: str) -> str:
    """SQL of a number that is NULL for NaN and the infinities: JSON has no such numbers, and other programs may write them."""
    return f"(CASE WHEN abs({sql}) < 'Infinity' THEN {sql} END)"


#: The columns that can be shown, sorted by, and named in conditions.
FIELDS: dict[str, Field] = {
    "symbol": Field("s.symbol", TEXT),
    "name": Field("s.name", TEXT),
    "region": Field("s.country_code", TEXT),
    "exchange": Field("s.exchange", TEXT),
    "sector": Field("s.sector", TEXT),
    "industry": Field("s.industry", TEXT),
    "period_type": Field("r.period_type", TEXT),
    "period_end": Field("r.period_end", DATE),
    "currency": Field("r.currency", TEXT),
    **{name: Field(finite(f"r.{name}"), NUMBER) for name in RATIOS},
    "enterprise_value_usd": Field(_ENTERPRISE_VALUE_USD, NUMBER),
    "run_id": Field("r.run_id", TEXT),
}

#: The kinds of rows. `latest`: one per stock, with its trailing row or else its newest fiscal year, or without figures. `ttm`: all
#: trailing rows. `annual`: all fiscal years.
PERIODS = ("latest", "ttm", "annual")
_PERIOD_TABLES = {
    # 'ttm' comes after 'annual', so that this is one step back from the end of the symbol's part of the primary key.
    "latest": "stock s LEFT JOIN LATERAL (SELECT * FROM financial_ratios f WHERE f.symbol = s.symbol "
    "ORDER BY f.period_type DESC, f.period_end DESC LIMIT 1) r ON true",
    "ttm": "stock s JOIN financial_ratios r ON r.symbol = s.symbol AND r.period_type = 'ttm'",
    "annual": "stock s JOIN financial_ratios r ON r.symbol = s.symbol AND r.period_type = 'annual'",
}


@dataclass(frozen=True)
class Range:
    """A ratio between two bounds, both included. None is no bound. Bounds of amounts are in dollars."""

    ratio: str
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Screen:
    """Which rows are selected, and their order. A row must match all parts."""

    text: str = ""
    regions: tuple[str, ...] = ()
    sectors: tuple[str, ...] = ()
    ranges: tuple[Range, ...] = ()
    #: A condition as pipeline.stocks.conditions reads it, or "".
    where: str = ""
    period: str = "latest"
    sort: str = "symbol"
    descending: bool = False

    def condition(self) -> conditions.Node | None:
        """The parsed condition, None if there is none. Raises ConditionError."""
        return conditions.parse(self.where, FIELDS) if self.where.strip() else None


def select(screen: Screen, columns: Sequence[str], more: str = "") -> tuple[str, list[Any]]:
    """Select all rows in order, each followed by `listed.arguments` and `more`, which is SQL of further columns, never from a user.

    Raises ConditionError.
    """
    where, values = _where(screen)
    chosen = ", ".join([*_named(columns), *listed.arguments(listed.COLUMNS), *([more] if more else [])])
    tables = f"{_PERIOD_TABLES[screen.period]} LEFT JOIN quote q ON q.symbol = s.symbol"
    return f"SELECT {chosen} FROM {tables}{where} ORDER BY {_order(screen)}, s.symbol, r.period_end DESC", values  # noqa: S608


def select_page(screen: Screen, columns: Sequence[str], limit: int, offset: int) -> tuple[str, list[Any]]:
    """The same for one page of rows. Raises ConditionError."""
    where, values = _where(screen)
    keys = (f"{compared_by(screen.sort)} AS sort_key", "s.symbol AS sort_symbol", "r.period_end AS sort_end")
    of_row = {name: sql for name, sql in listed.COLUMNS.items() if sql.startswith("r.")}
    inner = (
        f"SELECT {', '.join([*_named(columns), *(f'{sql} AS {name}' for name, sql in of_row.items()), *keys])} "  # noqa: S608
        f"FROM {_PERIOD_TABLES[screen.period]}{where} ORDER BY {_order(screen)}, s.symbol, r.period_end DESC LIMIT %s OFFSET %s"
    )
    # Quotes are joined, and inputs unpacked, after the sorting: for the rows of the page only.
    arguments = listed.arguments({name: f"page.{name}" if name in of_row else sql for name, sql in listed.COLUMNS.items()})
    sql = (
        f"SELECT {', '.join([*(f'page.{name}' for name in columns), *arguments])} "  # noqa: S608
        f"FROM ({inner}) page LEFT JOIN quote q ON q.symbol = page.sort_symbol "
        f"ORDER BY sort_key{_direction(screen)}, sort_symbol, sort_end DESC"
    )
    return sql, [*values, limit, offset]


def _named(columns: Sequence[str]) -> list[str]:
    return [f"{FIELDS[name].sql} AS {name}" for name in columns]


def _order(screen: Screen) -> str:
    return f"{compared_by(screen.sort)}{_direction(screen)}"


def _direction(screen: Screen) -> str:
    return f" {'DESC' if screen.descending else 'ASC'} NULLS LAST"


def compared_by(name: str) -> str:
    """SQL of the values by which rows are sorted, filtered and drawn: amounts are in dollars."""
    return FIELDS[IN_DOLLARS.get(name, name)].sql


def count(screen: Screen) -> tuple[str, list[Any]]:
    """Count the rows."""
    where, values = _where(screen)
    return f"SELECT count(*) FROM {_PERIOD_TABLES[screen.period]}{where}", values  # noqa: S608


def quantiles(screen: Screen, ratio: str, by: str) -> tuple[str, list[Any]]:
    """One row per region or sector, by the median: group, stocks with a value, least, quantiles of 5, 25, 50, 75 and 95 %, most."""
    column, group = compared_by(ratio), FIELDS[by].sql
    where, values = _where(screen)
    where = f"{where} AND {column} IS NOT NULL" if where else f" WHERE {column} IS NOT NULL"
    sql = (
        f"SELECT {group}, count(*), min({column}), "  # noqa: S608
        f"percentile_cont(ARRAY[0.05, 0.25, 0.5, 0.75, 0.95]) WITHIN GROUP (ORDER BY {column}), max({column}) "
        f"FROM {_PERIOD_TABLES[screen.period]}{where} GROUP BY {group} "
        f"ORDER BY percentile_cont(0.5) WITHIN GROUP (ORDER BY {column}) DESC"
    )
    return sql, values


def points(screen: Screen, x: str, y: str, limit: int) -> tuple[str, list[Any]]:
    """Symbol, name, region, sector, x and y of the stocks that have both. If there are more than `limit`, always the same sample."""
    where, values = _where(screen)
    across, up = compared_by(x), compared_by(y)
    both = f"{across} IS NOT NULL AND {up} IS NOT NULL"
    where = f"{where} AND {both}" if where else f" WHERE {both}"
    sql = (
        f"SELECT s.symbol, s.name, s.country_code, s.sector, {across}, {up}, count(*) OVER () "  # noqa: S608
        f"FROM {_PERIOD_TABLES[screen.period]}{where} ORDER BY hashtext(s.symbol) LIMIT %s"
    )
    return sql, [*values, limit]


def _where(screen: Screen) -> tuple[str, list[Any]]:
    parts: list[str] = []
    values: list[Any] = []
    if screen.text:
        text = clean_text(screen.text)
        for character in "\\%_":
            text = text.replace(character, f"\\{character}")
        parts.append("(s.symbol ILIKE %s OR s.name ILIKE %s)")
        values += [f"%{text}%"] * 2
    for name, wanted in (("region", screen.regions), ("sector", screen.sectors)):
        if wanted:
            parts.append(f"{FIELDS[name].sql} = ANY(%s)")
            values.append([clean_text(one) for one in wanted])
    for one in screen.ranges:
        for operator, bound in ((">=", one.least), ("<=", one.most)):
            if bound is not None:
                parts.append(f"{compared_by(one.ratio)} {operator} %s")
                values.append(bound)
    condition = screen.condition()
    if condition is not None:
        sql, more = conditions.to_sql(condition, FIELDS)
        parts.append(f"({sql})")
        values += more
    return (f" WHERE {' AND '.join(parts)}" if parts else ""), values


def command(screen: Screen) -> str:
    """The export_ratios.py command that prints the same rows. It has no option for the text search."""
    parts = [
        f"{IN_DOLLARS.get(one.ratio, one.ratio)} {operator} {bound!r}"
        for one in screen.ranges
        for operator, bound in ((">=", one.least), ("<=", one.most))
        if bound is not None
    ]
    if screen.sectors:
        parts.append("(" + " or ".join("sector = '" + sector.replace("'", "''") + "'" for sector in screen.sectors) + ")")
    if screen.where.strip():
        parts.append(f"({screen.where.strip()})" if parts else screen.where.strip())
    words = ["python", "export_ratios.py", "--format", "csv"]
    words += ["--region", ",".join(screen.regions)] if screen.regions else []
    words += ["--period", screen.period] if screen.period != "latest" else []
    words += ["--where", " and ".join(parts)] if parts else []
    words += ["--sort", screen.sort] if screen.sort != "symbol" else []
    words += ["--descending"] if screen.descending else []
    return " ".join(shlex.quote(word) for word in words)
