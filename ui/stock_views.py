"""The views over the tables: stocks as a table and as CSV, one stock, two ratios as a scatter, one as a distribution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import chain
from typing import Any

import psycopg2
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from pipeline.errors import ServiceError
from pipeline.ratios.formulas import RATIOS
from pipeline.stocks import export, query
from pipeline.stocks.catalog import CATALOG
from pipeline.storage import database
from pipeline.wire.messages import clean_text
from ui import forms
from ui.forms import View
from ui.places import CONNECT_SECONDS, Places

#: Most points of a scatter: a drawing of more is slow, and shows no more.
MOST_POINTS = 3_000
#: Statement lines that are drawn over the years.
DRAWN_LINES = ("TotalRevenue", "NetIncome", "FreeCashFlow")

#: What a row's inputs have at least; rows that others wrote may have none.
NO_INPUTS: dict[str, Any] = {"lines": {}, "market": {}, "piotroski": {}}

Render = Callable[..., Response]
#: "region" and "sector" → value, label, stocks.
Choices = dict[str, list[tuple[Any, ...]]]
NO_CHOICES: Choices = {"region": [], "sector": []}


@dataclass(frozen=True)
class Table:
    """One page of rows: symbol, name, region, sector, period_type, period_end, currency, then the ratios."""

    rows: list[dict[str, Any]]
    count: int
    pages: int


@dataclass(frozen=True)
class Period:
    """A row of financial_ratios."""

    period_type: str
    period_end: str
    currency: str
    values: dict[str, float | None]
    reasons: dict[str, str]
    inputs: dict[str, Any]
    run_id: str
    computed_at: datetime

    @property
    def kind(self) -> str:
        return "12 months to" if self.period_type == "ttm" else "Year to"


class Stocks:
    """Queries. All raise ServiceError where the database is away."""

    def __init__(self, places: Places) -> None:
        self.places = places

    def table(self, view: View) -> Table:
        names = ("symbol", "name", "region", "sector", "period_type", "period_end", "currency", *view.shown_columns)
        ((count,),) = self.places.query(*query.count(view.screen))
        sql, values = query.select(view.screen, names, forms.PAGE_ROWS, (view.page - 1) * forms.PAGE_ROWS)
        rows = [dict(zip(names, row, strict=True)) for row in self.places.query(sql, values)] if count else []
        return Table(rows, count, max(1, -(-count // forms.PAGE_ROWS)))

    def choices(self) -> Choices:
        """Regions and sectors that there are: value, label, stocks."""
        regions = self.places.query(
            "SELECT country_code, country_name, count(*) FROM stock JOIN country USING (country_code) GROUP BY 1, 2 ORDER BY 2", []
        )
        sectors = self.places.query("SELECT sector, sector, count(*) FROM stock WHERE sector <> '' GROUP BY 1 ORDER BY 1", [])
        return {"region": regions, "sector": sectors}

    def stock(self, symbol: str) -> dict[str, Any] | None:
        names = ("symbol", "name", "region", "country", "exchange", "sector", "industry", "currency", "first_seen", "last_seen")
        rows = self.places.query(
            "SELECT symbol, name, country_code, country_name, exchange, sector, industry, currency, first_seen, last_seen "
            "FROM stock JOIN country USING (country_code) WHERE symbol = %s",
            [clean_text(symbol)],
        )
        return dict(zip(names, rows[0], strict=True)) if rows else None

    def periods(self, symbol: str) -> list[Period]:
        """The trailing row first, then the fiscal years, newest first."""
        rows = self.places.query(
            f"SELECT period_type, period_end, currency, null_reasons, inputs, run_id, computed_at, {', '.join(RATIOS)} "  # noqa: S608
            "FROM financial_ratios WHERE symbol = %s ORDER BY period_type DESC, period_end DESC",
            [clean_text(symbol)],
        )
        return [
            Period(
                kind, end.isoformat(), currency, dict(zip(RATIOS, figures, strict=True)), reasons, NO_INPUTS | inputs, run_id, computed_at
            )
            for kind, end, currency, reasons, inputs, run_id, computed_at, *figures in rows
        ]

    def csv(self, view: View) -> Iterator[str]:
        """The rows as pieces of CSV, from a connection of their own. The first piece is there already: what fails, fails now."""
        connection = database.connect(self.places.database(), CONNECT_SECONDS)
        connection.set_session(readonly=True)
        texts = export.csv_texts(export.rows(connection, view.screen))
        try:
            first = next(texts)
        except psycopg2.Error as error:
            connection.close()
            raise ServiceError(f"the database can't be read: {' '.join(str(error).split())}") from error

        def pieces() -> Iterator[str]:
            try:
                yield from chain([first], texts)
            finally:
                connection.close()

        return pieces()


class Views:
    """The pages. `render` makes HTML of a template."""

    def __init__(self, found: Stocks, render: Render) -> None:
        self._stocks = found
        self._render = render

    def table(self, request: Request) -> Response:
        pairs = request.query_params.multi_items()
        address = forms.from_form(pairs)
        if address is not None:
            return RedirectResponse(f"stocks?{address}", 303)
        view = forms.read(pairs)
        table, choices, problem = None, NO_CHOICES, ""
        try:
            choices = self._stocks.choices()
            table = None if view.problems else self._stocks.table(view)
        except ServiceError as error:
            problem = str(error)
        status = 503 if problem else 400 if view.problems else 200
        return self._render(
            request, "stocks.html", status, view=view, table=table, choices=choices, problem=problem, command=query.command(view.screen)
        )

    def csv(self, request: Request) -> Response:
        view = forms.read(request.query_params.multi_items())
        if view.problems:
            raise HTTPException(400, "; ".join(view.problems.values()))
        try:
            pieces = self._stocks.csv(view)
        except ServiceError as error:
            raise HTTPException(503, str(error)) from None
        name = f"stocks-{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}.csv"
        headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
        return StreamingResponse(pieces, media_type="text/csv; charset=utf-8", headers=headers)

    def detail(self, request: Request) -> Response:
        symbol = request.path_params["symbol"]
        stock, periods, problem = None, [], ""
        try:
            stock = self._stocks.stock(symbol)
            periods = self._stocks.periods(symbol) if stock else []
        except ServiceError as error:
            problem = str(error)
        if stock is None and not problem:
            raise HTTPException(404, f"there is no stock {symbol[:60]!r} in the database")
        ratio = request.query_params.get("ratio", "return_on_equity")
        return self._render(
            request,
            "stock.html",
            503 if problem else 200,
            symbol=symbol,
            stock=stock,
            periods=periods,
            problem=problem,
            ratio=ratio if ratio in CATALOG else "return_on_equity",
            drawing=_drawing(periods),
        )

    def scatter(self, request: Request) -> Response:
        asked = request.query_params
        view = forms.read(asked.multi_items())
        x, y = _ratio(asked.get("x"), "return_on_equity"), _ratio(asked.get("y"), "price_to_book")
        points: list[tuple[Any, ...]] = []
        choices, problem = NO_CHOICES, ""
        try:
            choices = self._stocks.choices()
            points = [] if view.problems else self._stocks.places.query(*query.points(view.screen, x, y, MOST_POINTS))
        except ServiceError as error:
            problem = str(error)
        count = points[0][6] if points else 0
        return self._render(
            request,
            "scatter.html",
            503 if problem else 400 if view.problems else 200,
            view=view,
            x=CATALOG[x],
            y=CATALOG[y],
            points=[row[:6] for row in points],
            count=count,
            choices=choices,
            problem=problem,
        )

    def distribution(self, request: Request) -> Response:
        asked = request.query_params
        view = forms.read(asked.multi_items())
        ratio = _ratio(asked.get("ratio"), "price_to_earnings")
        by = asked.get("by", "region")
        if by not in ("region", "sector"):
            raise HTTPException(400, f"by {by[:40]!r}: expected region or sector")
        groups: list[tuple[Any, ...]] = []
        choices, problem = NO_CHOICES, ""
        try:
            choices = self._stocks.choices()
            groups = [] if view.problems else self._stocks.places.query(*query.quantiles(view.screen, ratio, by))
        except ServiceError as error:
            problem = str(error)
        names = {value: label for value, label, _ in choices[by]}
        return self._render(
            request,
            "distribution.html",
            503 if problem else 400 if view.problems else 200,
            view=view,
            ratio=CATALOG[ratio],
            by=by,
            groups=[(names.get(row[0], row[0]) or "(none)", row[0], *row[1:]) for row in groups],
            choices=choices,
            problem=problem,
        )


def _ratio(text: str | None, default: str) -> str:
    if not text:
        return default
    if text not in CATALOG:
        raise HTTPException(400, f"{text[:60]!r} is no ratio")
    return text


def _drawing(periods: list[Period]) -> dict[str, Any]:
    """What the charts of a stock's page are drawn from: fiscal years from the oldest on, then the trailing months."""
    ordered = sorted(periods, key=lambda period: (period.period_end, period.period_type))
    return {
        "labels": [f"{period.period_end[:7]}<br>12 months" if period.period_type == "ttm" else period.period_end[:7] for period in ordered],
        "currency": ordered[-1].currency if ordered else "",
        "ratios": {name: [period.values[name] for period in ordered] for name in RATIOS},
        "labels_of": {name: CATALOG[name].label for name in RATIOS},
        "units": {name: CATALOG[name].unit for name in RATIOS},
        "lines": {key: [_line(period, key) for period in ordered] for key in DRAWN_LINES},
    }


def _line(period: Period, key: str) -> float | None:
    """A statement line at the period's end: the newest of its dates, where it is near that end."""
    found = period.inputs["lines"].get(key) or {}
    newest = max(found, default="")
    # One period ends within a week; a line that is a year old is the year before's.
    near = bool(newest) and abs((datetime.fromisoformat(newest) - datetime.fromisoformat(period.period_end)).days) <= 7
    value = found[newest] if near else None
    return float(value) if isinstance(value, (int, float)) else None
