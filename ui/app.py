"""The page: an ASGI application. Each view reads what it shows when it is requested; the pipeline view is live.

If the broker or the database is away, the views that need it say so (status 503) and try again by themselves; the others go on. If too
many requests for a view come at once, the rest are refused (503). An invalid field of an address is 400; 500 is always a bug.
"""

from __future__ import annotations

import contextlib
import importlib.util
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import config
from config import Kafka, Settings
from pipeline.errors import ServiceError
from pipeline.runs.group_watch import GroupWatch
from pipeline.stocks import catalog, quality
from ui import show
from ui.kafka_views import KafkaViews
from ui.lanes import Lane
from ui.letters import Letters
from ui.letters_view import LettersView
from ui.live import Followers
from ui.pipeline_view import PipelineView
from ui.places import Places
from ui.security import OwnPagesOnly
from ui.stock_views import Stocks, StockViews
from ui.topics_view import KafkaView

FOLDER = Path(__file__).resolve().parent
_TITLES = {400: "Bad address", 403: "Not from here", 404: "Not found", 405: "Not that way", 413: "Too large", 503: "Too much at once"}


class Page:
    """What the views share: where the services are, the threads that read the topics, the templates."""

    def __init__(self, find: Callable[[], Settings], demo: bool = False) -> None:
        self.demo = demo
        self.places = Places(find)
        self.followers = Followers(self.places)
        # From the start, not only while somebody looks: a verdict takes minutes of readings.
        self.watch = GroupWatch(self.places.kafka, Kafka())
        self.watch.start()
        self.dead = Letters(self.places)
        self.dead.start()
        self.stopping = threading.Event()
        self.templates = _templates()

    def html(self, request: Request, template: str, status: int = 200, **context: Any) -> Response:
        text = self.templates.get_template(template).render(up=_up(request), demo=self.demo, **context)
        return HTMLResponse(text, status)

    def problem(self, request: Request, error: Exception) -> Response:
        """A page that says what is wrong with the address, or why the request is refused."""
        status, text, headers = 500, "Something went wrong here; the log says what.", None
        if isinstance(error, HTTPException):
            status, text, headers = error.status_code, error.detail, error.headers
        answer = self.html(request, "problem.html", status, title=_TITLES.get(status, "Error"), text=text)
        answer.headers.update(headers or {})
        return answer

    def stop(self) -> None:
        self.stopping.set()
        self.followers.stop()
        self.watch.stop()
        self.dead.stop()
        self.places.forget()


def create_app(find: Callable[[], Settings], demo: bool = False) -> Starlette:
    """The application. `find` returns the current settings; it is called repeatedly."""
    page = Page(find, demo)
    plotly = importlib.util.find_spec("plotly")
    if plotly is None or not plotly.submodule_search_locations:
        raise ServiceError("plotly is not installed: pip install -r requirements-local.txt")
    script = Path(plotly.submodule_search_locations[0]) / "package_data" / "plotly.min.js"

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        page.stop()

    app = Starlette(
        routes=[
            *_views(page),
            Route("/static/plotly.min.js", lambda _: FileResponse(script, headers={"cache-control": "max-age=86400"})),
            Mount("/static", StaticFiles(directory=FOLDER / "static")),
        ],
        middleware=[Middleware(OwnPagesOnly)],
        exception_handlers={HTTPException: page.problem, 500: page.problem},
        lifespan=lifespan,
    )
    app.state.page = page
    return app


def _views(page: Page) -> list[Route]:
    # What each lane rations: connections to PostgreSQL (Places has as many), clients of Kafka, the interpreter.
    tables = Lane("the stocks", at_once=3, waiting=40)
    topics = Lane("the topics", at_once=2, waiting=10)
    memory = Lane("the run", at_once=4, waiting=200)
    pipeline = PipelineView(page.followers, page.watch, page.html, page.templates.get_template("_pipeline.html").render, page.stopping)
    kafka = KafkaViews(KafkaView(page.places.kafka), page.html)
    letters = LettersView(page.dead, page.html, topics)
    stocks = StockViews(Stocks(page.places), page.dead, page.html, tables)
    return [
        Route("/", memory(pipeline.page)),
        Route("/events", pipeline.events),
        Route("/kafka", topics(kafka.overview)),
        Route("/kafka/topics/{name}", topics(kafka.messages)),
        Route("/dead-letters", memory(letters.table)),
        Route("/dead-letters/replay", letters.replay, methods=["POST"]),
        Route("/stocks", tables(stocks.table)),
        Route("/stocks.csv", stocks.csv),
        Route("/stocks/{symbol:path}", tables(stocks.detail)),
        Route("/scatter", tables(stocks.scatter)),
        Route("/distribution", tables(stocks.distribution)),
    ]


def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(
        catalog=catalog.CATALOG,
        families=catalog.FAMILIES,
        uses=catalog.uses,
        piotroski_tests=catalog.PIOTROSKI_TESTS,
        quote=quote,
        check_labels=tuple(quality.LABELS.values()),
    )
    environment.filters.update(
        whole=show.whole,
        seconds=show.seconds,
        moment=show.moment,
        reason=catalog.reason_text,
        stock_path=show.stock_path,
        value_text=show.value_text,
        line=show.line,
        segment=lambda text: quote(text, safe=""),
    )
    environment.globals.update(figure=show.figure, in_unit=show.in_unit, amount=show.amount, exact=show.exact)
    return environment


def _up(request: Request) -> str:
    """The relative path from this address to the root. Every link begins with it."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    return "../" * (raw.count(b"/") - 1)


def settings_finder(demo: bool) -> Callable[[], Settings]:
    """A function that reads the settings each time. If a setting has become invalid, it raises ServiceError."""

    def find() -> Settings:
        try:
            return config.load(demo=demo)
        except config.SettingsError as error:
            raise ServiceError(str(error)) from error

    return find
