"""The views of the tables: stocks as a table and as CSV, one stock, a scatter of two ratios, the distribution of one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import chain
from typing import Any

import anyio
import psycopg2
import psycopg2.errors
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from pipeline.errors import ServiceError
from pipeline.ratios.formulas import RATIOS
from pipeline.stocks import export, query
from pipeline.stocks.catalog import CATALOG, as_compared
from pipeline.stocks.listed import listed_size
from pipeline.stocks.quality import checks
from pipeline.storage import database
from pipeline.wire.messages import clean_text
from ui import addresses, forms
from ui.forms import View
from ui.lanes import Lane, busy
from ui.letters import Letters
from ui.no_figures import why_none
from ui.places import CONNECT_SECONDS, NO_TABLES, QUERY_MS, Places

log = logging.getLogger(__name__)

#: Most points of a scatter. More are slow to draw, and show no more.
MOST_POINTS = 3_000
#: Downloads at once; the longest in seconds; ms for which its client may read nothing.
DOWNLOADS = 2
DOWNLOAD_SECONDS = 600
IDLE_MS = 30_000
CSV = "text/csv; charset=utf-8"
#: Statement lines in the chart of a stock's page.
DRAWN_LINES = ("TotalRevenue", "NetIncome", "FreeCashFlow")

#: Keys that the templates need in a row's inputs. Rows that others wrote may lack them.
NO_INPUTS: dict[str, Any] = {"lines": {}, "market": {}, "piotroski": {}}

Render = Callable[..., Response]
#: "region" and "sector" → their values, each with its label and its number of stocks.
Choices = dict[str, list[tuple[Any, ...]]]
NO_CHOICES: Choices = {"region": [], "sector": []}


@dataclass(frozen=True)
class Table:
    """One page of rows: symbol, name, region, sector, period_type, period_end, currency, the ratios, and `listed`: a ListedSize or None."""

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
    #: Label of each check that was made → its result.
    checks: dict[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return "12 months to" if self.period_type == "ttm" else "Year to"


class Stocks:
    """The queries. All raise ServiceError if the database is away."""

    def __init__(self, places: Places) -> None:
        self.places = places

    def table(self, view: View) -> Table:
        names = ("symbol", "name", "region", "sector", "period_type", "period_end", "currency", *view.shown_columns)
        ((count,),) = self.places.query(*query.count(view.screen))
        sql, values = query.select_page(view.screen, names, forms.PAGE_ROWS, (view.page - 1) * forms.PAGE_ROWS)
        found = self.places.query(sql, values) if count else []
        rows = [dict(zip(names, row, strict=False), listed=listed_size(*row[len(names) :])) for row in found]
        return Table(rows, count, max(1, -(-count // forms.PAGE_ROWS)))

    def choices(self) -> Choices:
        """The regions and sectors of the stocks in the database."""
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
        figures = ", ".join(map(query.finite, RATIOS))
        rows = self.places.query(
            f"SELECT period_type, period_end, currency, null_reasons, inputs, run_id, computed_at, quality, {figures} "  # noqa: S608
            "FROM financial_ratios WHERE symbol = %s ORDER BY period_type DESC, period_end DESC",
            [clean_text(symbol)],
        )
        return [
            Period(
                kind,
                end.isoformat(),
                currency,
                dict(zip(RATIOS, values, strict=True)),
                reasons,
                NO_INPUTS | inputs,
                run_id,
                computed_at,
                checks(quality),
            )
            for kind, end, currency, reasons, inputs, run_id, computed_at, quality, *values in rows
        ]

    def csv(self, view: View) -> Generator[str, None, None]:
        """The rows as pieces of CSV, over a connection of their own. The first piece is read at once, so a failing query raises here."""
        connection = database.connect(self.places.database(), CONNECT_SECONDS)
        try:
            connection.set_session(readonly=True)
            with connection.cursor() as cursor:
                # PostgreSQL itself ends the transaction if the client reads nothing for so long, even if nothing else does. Both hold
                # for this transaction only: a pooler may give the session to others.
                cursor.execute(
                    "SELECT set_config('idle_in_transaction_session_timeout', %s, true), set_config('statement_timeout', %s, true)",
                    (str(IDLE_MS), str(QUERY_MS)),
                )
            texts = export.csv_texts(export.rows(connection, view.screen))
            first = next(texts)
        except psycopg2.errors.UndefinedTable:
            connection.close()
            raise ServiceError(NO_TABLES) from None
        except (psycopg2.Error, ValueError) as error:
            connection.close()
            what = "the database" if isinstance(error, psycopg2.Error) else "a row of the database"
            raise ServiceError(f"{what} can't be read: {' '.join(str(error).split())}") from error
        except BaseException:
            connection.close()
            raise

        pieces = _and_close(connection, chain([first], texts))
        next(pieces)  # from here on, closing the generator closes the connection
        return pieces


def _and_close(connection: Any, texts: Iterable[str]) -> Generator[str, None, None]:
    """Yield an empty text, then the texts. Closes the connection at the end, even if it comes early."""
    try:
        yield ""
        yield from texts
    finally:
        connection.close()


class Download(StreamingResponse):
    """CSV, sent as fast as the client reads it. However it ends, the connection is closed and `ended` is called."""

    def __init__(self, pieces: Generator[str, None, None], headers: dict[str, str], ended: Callable[[], None]) -> None:
        super().__init__(pieces, media_type=CSV, headers=headers)
        self._pieces = pieces
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with anyio.fail_after(DOWNLOAD_SECONDS):
                await super().__call__(scope, receive, send)
        except TimeoutError:
            # The part that was sent must not look complete, so the connection is aborted.
            log.warning("a download was aborted after %d s: its client read too slowly", DOWNLOAD_SECONDS)
            raise
        finally:
            self._pieces.close()
            self._ended()


class StockViews:
    """The views. `render` makes HTML from a template. Downloads start in `lane`. `dead` has the tasks that failed."""

    def __init__(self, found: Stocks, dead: Letters, render: Render, lane: Lane) -> None:
        self._stocks = found
        self._dead = dead
        self._render = render
        self._lane = lane
        self._downloads = 0

    def table(self, request: Request) -> Response:
        pairs = request.query_params.multi_items()
        address = forms.from_form(pairs)
        if address is not None:
            return RedirectResponse(f"stocks?{address}", 303)
        view = forms.read(pairs)
        table, choices, problem = None, NO_CHOICES, ""
        try:
            choices = self._stocks.choices()
            view = _checked(view, choices)
            table = None if view.problems else self._stocks.table(view)
        except ServiceError as error:
            problem = str(error)
        status = 503 if problem else 400 if view.problems else 200
        return self._render(
            request, "stocks.html", status, view=view, table=table, choices=choices, problem=problem, command=query.command(view.screen)
        )

    async def csv(self, request: Request) -> Response:
        """The rows as a download. Few run at once, because each holds a connection to the database until its last row is sent."""
        if self._downloads >= DOWNLOADS:
            raise busy(f"{DOWNLOADS} downloads are running, and no more are possible at once: try again when one has ended")
        self._downloads += 1
        answer: Response | None = None
        try:
            answer = await self._lane.run(self._download, request)
        finally:
            if not isinstance(answer, Download):
                self._downloads -= 1
        return answer

    def _download(self, request: Request) -> Response:
        view = forms.read(request.query_params.multi_items())
        try:
            view = _checked(view, self._stocks.choices())
            if view.problems:
                raise HTTPException(400, "; ".join(view.problems.values()))
            name = f"stocks-{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}.csv"
            headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
            if request.method == "HEAD":
                return Response(media_type=CSV, headers=headers)
            return Download(self._stocks.csv(view), headers, self._one_ended)
        except ServiceError as error:
            raise HTTPException(503, str(error)) from None

    def _one_ended(self) -> None:
        self._downloads -= 1

    def detail(self, request: Request) -> Response:
        symbol = request.path_params["symbol"]
        ratio = _ratio(request.query_params.get("ratio"), "return_on_equity")
        stock, periods, why, problem = None, [], None, ""
        try:
            stock = self._stocks.stock(symbol)
            periods = self._stocks.periods(symbol) if stock else []
            why = None if periods else why_none(self._stocks.places, self._dead, symbol)
        except ServiceError as error:
            problem = str(error)
        if stock is None and not problem:
            raise HTTPException(404, f"there is no stock {symbol[:60]!r} in the database")
        return self._render(
            request,
            "stock.html",
            503 if problem else 200,
            symbol=symbol,
            stock=stock,
            periods=periods,
            why=why,
            problem=problem,
            ratio=ratio,
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
            view = _checked(view, choices)
            points = [] if view.problems else self._stocks.places.query(*query.points(view.screen, x, y, MOST_POINTS))
        except ServiceError as error:
            problem = str(error)
        count = points[0][6] if points else 0
        return self._render(
            request,
            "scatter.html",
            503 if problem else 400 if view.problems else 200,
            view=view,
            x=as_compared(x),
            y=as_compared(y),
            points=[row[:6] for row in points],
            count=count,
            choices=choices,
            problem=problem,
        )

    def distribution(self, request: Request) -> Response:
        asked = request.query_params
        view = forms.read(asked.multi_items())
        ratio = _ratio(asked.get("ratio"), "price_to_earnings")
        by = addresses.choice(asked.get("by"), "by", ("region", "sector"), "region")
        groups: list[tuple[Any, ...]] = []
        choices, problem = NO_CHOICES, ""
        try:
            choices = self._stocks.choices()
            view = _checked(view, choices)
            groups = [] if view.problems else self._stocks.places.query(*query.quantiles(view.screen, ratio, by))
        except ServiceError as error:
            problem = str(error)
        names = {value: label for value, label, _ in choices[by]}
        return self._render(
            request,
            "distribution.html",
            503 if problem else 400 if view.problems else 200,
            view=view,
            ratio=as_compared(ratio),
            by=by,
            groups=[(names.get(row[0], row[0]) or "(none)", row[0], *row[1:]) for row in groups],
            choices=choices,
            problem=problem,
        )


def _checked(view: View, choices: Choices) -> View:
    """The view, with problems for chosen values that do not exist."""
    known = [{value for value, *_ in choices[name]} for name in ("region", "sector")]
    return forms.with_known(view, *known)


def _ratio(text: str | None, default: str) -> str:
    if not text:
        return default
    if text not in CATALOG:
        raise HTTPException(400, f"{text[:60]!r} is not a ratio")
    return text


def _drawing(periods: list[Period]) -> dict[str, Any]:
    """The data of the charts of a stock's page: fiscal years, the oldest first, then the trailing twelve months."""
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
    """A statement line at the period's end: the newest one, if it is near that end."""
    found = period.inputs["lines"].get(key) or {}
    newest = max(found, default="")
    # Lines of one period end within a week of each other. A line that is a year older belongs to the year before.
    near = bool(newest) and abs((datetime.fromisoformat(newest) - datetime.fromisoformat(period.period_end)).days) <= 7
    value = found[newest] if near else None
    return float(value) if isinstance(value, (int, float)) else None
