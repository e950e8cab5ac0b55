"""The page: an ASGI application. Each view reads what it shows at the moment it is asked; the pipeline view is live.

Broker and database may be away: the views that need them say so (status 503), look again by themselves, and the others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import config
from config import Kafka, Settings
from pipeline.errors import MessageError, PipelineError, ServiceError
from pipeline.runs.group_watch import GroupWatch
from pipeline.stocks import catalog
from pipeline.wire import topics
from pipeline.wire.messages import ProcessingTask, run_started_at
from pipeline.worker.dead_letters import Letter, Wanted
from ui import show, stock_views
from ui.letters import LETTERS_KEPT, Letters
from ui.live import Consumers, Followers
from ui.places import Places
from ui.security import OwnPagesOnly
from ui.topics_view import KafkaView

FOLDER = Path(__file__).resolve().parent
#: Seconds between two looks of the live view, and between two signs of life while nothing changes.
LOOK_SECONDS = 0.25
ALIVE_SECONDS = 10.0
#: Seconds for which the list of dead letters waits before it says that it is still reading.
READY_SECONDS = 0.5
#: Largest form in bytes; dead letters on one page; characters of a message that the list shows.
FORM_BYTES = 65_536
LETTERS_SHOWN = 200
VALUE_SHOWN = 4_000


class Page:
    """The views, and what they share."""

    def __init__(self, find: Callable[[], Settings], demo: bool = False) -> None:
        self.demo = demo
        self.places = Places(find)
        self.kafka = KafkaView(self.places.kafka)
        self.stocks = stock_views.Stocks(self.places)
        self.followers = Followers(self.places)
        # All the time, not only while somebody looks: a verdict is over minutes.
        self.watch = GroupWatch(self.places.kafka, Kafka())
        self.watch.start()
        self.dead = Letters(self.places)
        self.dead.start()
        self.stopping = threading.Event()
        self._replaying = threading.Lock()
        self._templates = _templates()

    # -- what every view does --------------------------------------------------------------------------------------

    def html(self, request: Request, template: str, status: int = 200, **context: Any) -> Response:
        text = self._templates.get_template(template).render(up=_up(request), demo=self.demo, **context)
        return HTMLResponse(text, status)

    def problem(self, request: Request, error: Exception) -> Response:
        """A page that says what is wrong with the address."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        text = error.detail if isinstance(error, HTTPException) else "Something went wrong here; the log says what."
        return self.html(request, "problem.html", status, title={404: "Not found", 400: "Bad address"}.get(status, "Error"), text=text)

    # -- pipeline --------------------------------------------------------------------------------------------------

    def pipeline(self, request: Request) -> Response:
        run = request.query_params.get("run") or None
        try:
            follower = self.followers.of(run)
        except MessageError as error:
            raise HTTPException(404, str(error)) from None
        return self.html(request, "pipeline.html", view=follower.snapshot, consumers=Consumers.of(self.watch.seen), run=run)

    async def events(self, request: Request) -> Response:
        """The live part of the pipeline view as server-sent events: the same HTML again, whenever something changed."""
        run = request.query_params.get("run") or None
        try:
            if run:
                run_started_at(run)
        except MessageError as error:
            raise HTTPException(404, str(error)) from None
        template = self._templates.get_template("_pipeline.html")

        async def stream() -> AsyncIterator[str]:
            shown, quiet = None, 0.0
            while not self.stopping.is_set():
                follower, consumers = self.followers.of(run), Consumers.of(self.watch.seen)
                if (follower, follower.version, consumers) != shown:
                    shown, quiet = (follower, follower.version, consumers), 0.0
                    text = template.render(view=follower.snapshot, consumers=consumers, up="", run=run)
                    yield f"data: {json.dumps(text)}\n\n"
                elif quiet >= ALIVE_SECONDS:
                    quiet = 0.0
                    yield ": still here\n\n"
                await asyncio.sleep(LOOK_SECONDS)
                quiet += LOOK_SECONDS

        return StreamingResponse(stream(), media_type="text/event-stream")

    # -- Kafka -----------------------------------------------------------------------------------------------------

    def kafka_overview(self, request: Request) -> Response:
        found, topics_problem = _tried(self.kafka.topics)
        if found is not None and not all(topic.partitions for topic in found):
            groups, groups_problem = None, ""  # without topics there is nobody to read them
        else:
            groups, groups_problem = _tried(self.kafka.groups) if found is not None else (None, topics_problem)
        return self.html(
            request,
            "kafka.html",
            503 if topics_problem else 200,
            topics=found,
            topics_problem=topics_problem,
            groups=groups,
            groups_problem=groups_problem,
        )

    def messages(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in topics.ALL:
            raise HTTPException(404, f"{name[:100]!r} is none of the pipeline's topics")
        asked = request.query_params
        partition, offset = _number(asked.get("partition"), "partition"), _number(asked.get("offset"), "offset")
        key = asked.get("key", "").strip()
        before = _before(asked.get("before", ""))
        if offset is not None and partition is not None and before is None:
            before = {partition: offset + 1}
        found, problem = _tried(lambda: self.kafka.messages(name, before, partition, key))
        topic, page = found or (None, None)
        older = urlencode(
            [("key", key)] * bool(key)
            + [("partition", str(partition))] * (partition is not None)
            + [("before", ",".join(f"{number}:{edge}" for number, edge in sorted(page.older.items())))]
            if page
            else []
        )
        return self.html(
            request,
            "messages.html",
            503 if problem else 200,
            name=name,
            topic=topic,
            page=page,
            problem=problem,
            older=older,
            key=key,
            partition=partition,
            offset=offset,
            newest=before is None,
            value_shown=VALUE_SHOWN,
        )

    # -- dead letters ----------------------------------------------------------------------------------------------

    def letters(self, request: Request) -> Response:
        wanted = _wanted(request.query_params)
        ready = self.dead.ready(READY_SECONDS)
        found, problem = _tried(self.dead.all)
        everything: list[Letter] = [letter for letter in found or [] if wanted.replayed_too or not letter.replayed]
        chosen = [letter for letter in reversed(everything) if wanted(letter)]
        replayed = request.query_params.get("put_back", "")
        return self.html(
            request,
            "letters.html",
            503 if problem else 200,
            letters=chosen[:LETTERS_SHOWN],
            count=len(chosen),
            replayable=sum(1 for letter in chosen if letter.task and not letter.replayed),
            problem=problem,
            ready=ready,
            most=LETTERS_KEPT if found and len(found) >= LETTERS_KEPT else None,
            choices=_letter_choices(everything),
            wanted=wanted,
            filters=_filters(wanted),
            put_back=int(replayed) if replayed.isdecimal() and len(replayed) < 9 else None,
        )

    async def replay(self, request: Request) -> Response:
        """Put one letter back, or all that the filter leaves; then to the list."""
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > FORM_BYTES:
                raise HTTPException(413, "the form is too large")
        form = dict(parse_qsl(body.decode("utf-8", "replace")))
        wanted = _wanted(form, form.get("letter") or None)
        try:
            count = await run_in_threadpool(self._replay, wanted)
        except PipelineError as error:
            return self.html(request, "problem.html", 503, title="Not put back", text=str(error))
        pairs = [*_filters(wanted), ("put_back", str(count))]
        # Relative, so that it also holds behind a proxy that puts the page under a path.
        return RedirectResponse(f"../dead-letters?{urlencode(pairs)}", 303)

    def _replay(self, wanted: Wanted) -> int:
        with self._replaying:  # a double click puts a letter back once
            return self.dead.put_back([letter for letter in self.dead.all() if not letter.replayed and wanted(letter)])


def create_app(find: Callable[[], Settings], demo: bool = False) -> Starlette:
    """The application. `find` gives the settings as they are now; it is asked again and again."""
    page = Page(find, demo)
    views = stock_views.Views(page.stocks, page.html)
    plotly = importlib.util.find_spec("plotly")
    if plotly is None or not plotly.submodule_search_locations:
        raise ServiceError("plotly is not installed: pip install -r requirements-local.txt")
    script = Path(plotly.submodule_search_locations[0]) / "package_data" / "plotly.min.js"

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        page.stopping.set()
        page.followers.stop()
        page.watch.stop()
        page.dead.stop()
        page.places.forget()

    app = Starlette(
        routes=[
            Route("/", page.pipeline),
            Route("/events", page.events),
            Route("/kafka", page.kafka_overview),
            Route("/kafka/topics/{name}", page.messages),
            Route("/dead-letters", page.letters),
            Route("/dead-letters/replay", page.replay, methods=["POST"]),
            Route("/stocks", views.table),
            Route("/stocks.csv", views.csv),
            Route("/stocks/{symbol:path}", views.detail),
            Route("/scatter", views.scatter),
            Route("/distribution", views.distribution),
            Route("/static/plotly.min.js", lambda _: FileResponse(script, headers={"cache-control": "max-age=86400"})),
            Mount("/static", StaticFiles(directory=FOLDER / "static")),
        ],
        middleware=[Middleware(OwnPagesOnly)],
        exception_handlers={HTTPException: page.problem, 500: page.problem},
        lifespan=lifespan,
    )
    app.state.page = page
    return app


def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(
        catalog=catalog.CATALOG, families=catalog.FAMILIES, uses=catalog.uses, piotroski_tests=catalog.PIOTROSKI_TESTS, quote=quote
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
    environment.globals.update(figure=show.figure, amount=show.amount)
    return environment


def _up(request: Request) -> str:
    """The way to the root from this address, so that every link is relative to it."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    return "../" * (raw.count(b"/") - 1)


def _tried(read: Callable[[], Any]) -> tuple[Any, str]:
    """What was read, or what kept it from being read."""
    try:
        return read(), ""
    except PipelineError as error:
        return None, str(error)


def _number(text: str | None, name: str) -> int | None:
    if not text or not text.strip():
        return None
    text = text.strip()
    if not (text.isdecimal() and text.isascii() and len(text) < 19):
        raise HTTPException(400, f"{name} {text[:40]!r}: expected a whole number")
    return int(text)


def _before(text: str) -> dict[int, int] | None:
    """`0:120,1:98`: partition → the offset that the messages lie below."""
    if not text:
        return None
    found = {}
    for pair in text.split(","):
        number, _, edge = pair.partition(":")
        found[_number(number, "before") or 0] = _number(edge, "before") or 0
    return found


_LETTER_FILTERS = ("stage", "run", "region", "symbol", "error_type")


def _wanted(given: Any, letter_id: str | None = None) -> Wanted:
    chosen: dict[str, Any] = {name: (given.get(name) or "").strip() or None for name in _LETTER_FILTERS}
    return Wanted(**chosen, replayed_too=given.get("replayed") == "1", letter_id=letter_id)


def _filters(wanted: Wanted) -> list[tuple[str, str]]:
    pairs = [(name, str(getattr(wanted, name))) for name in _LETTER_FILTERS if getattr(wanted, name)]
    return pairs + ([("replayed", "1")] if wanted.replayed_too else [])


def _letter_choices(letters: list[Letter]) -> dict[str, list[tuple[str, int]]]:
    """For each filter the values that there are, with how many letters have each, most first."""
    counts: dict[str, dict[str, int]] = {name: {} for name in _LETTER_FILTERS}
    for letter in letters:
        task = letter.task
        values = {"stage": letter.stage.name, "error_type": letter.headers.get("error-type", "")}
        if task is not None:
            values["run"] = task.run_id
            values["region"] = task.country_code if isinstance(task, ProcessingTask) else task.region_code
        for name, value in values.items():
            if value:
                counts[name][value] = counts[name].get(value, 0) + 1
    return {name: sorted(found.items(), key=lambda item: (-item[1], item[0]))[:100] for name, found in counts.items()}


def settings_finder(demo: bool) -> Callable[[], Settings]:
    """Reads the settings anew each time. A setting that no longer parses is a service that isn't there."""

    def find() -> Settings:
        try:
            return config.load(demo=demo)
        except config.SettingsError as error:
            raise ServiceError(str(error)) from error

    return find
