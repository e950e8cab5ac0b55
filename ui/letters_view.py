"""Shows the dead letters as a table, and puts them back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from pipeline.errors import MessageError, PipelineError
from pipeline.wire import topics
from pipeline.wire.messages import ProcessingTask, run_started_at
from pipeline.worker.dead_letters import Letter, LetterFilter
from ui import addresses
from ui.kafka_views import tried
from ui.lanes import Lane
from ui.letters import LETTERS_KEPT, Letters

#: Seconds to wait for the letters before saying that they are still being read.
READY_SECONDS = 0.5
#: Largest form in bytes; dead letters on one page; longest text of a filter.
FORM_BYTES = 65_536
LETTERS_SHOWN = 200
LONGEST_TEXT = 200
STAGES = tuple(stage.name for stage in topics.STAGES)

Render = Callable[..., Response]


class LettersView:
    """`render` makes HTML of a template."""

    def __init__(self, dead: Letters, render: Render, lane: Lane) -> None:
        self._dead = dead
        self._render = render
        self._lane = lane
        self._replaying = threading.Lock()

    def table(self, request: Request) -> Response:
        wanted = _wanted(request.query_params)
        put_back = addresses.whole_number(request.query_params.get("put_back"), "put_back", 10**8)
        ready = self._dead.ready(READY_SECONDS)
        found, problem = tried(self._dead.all)
        everything: list[Letter] = [letter for letter in found or [] if wanted.replayed_too or not letter.replayed]
        chosen = [letter for letter in reversed(everything) if wanted(letter)]
        return self._render(
            request,
            "letters.html",
            503 if problem else 200,
            letters=chosen[:LETTERS_SHOWN],
            count=len(chosen),
            replayable=sum(1 for letter in chosen if letter.task and not letter.replayed),
            problem=problem,
            ready=ready,
            most=LETTERS_KEPT if found and len(found) >= LETTERS_KEPT else None,
            choices=_choices(everything),
            wanted=wanted,
            filters=_filters(wanted),
            put_back=put_back,
        )

    async def replay(self, request: Request) -> Response:
        """Put back one letter, or all that match the filter, and redirect to the list."""
        body = b""
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > FORM_BYTES:
                    raise HTTPException(413, "the form is too large")
        except ClientDisconnect:
            return Response(status_code=400)  # nobody receives it
        form = dict(parse_qsl(body.decode("utf-8", "replace")))
        wanted = _wanted(form, form.get("letter") or None)
        return await self._lane.run(self._put_back, request, wanted)

    def _put_back(self, request: Request, wanted: LetterFilter) -> Response:
        try:
            with self._replaying:  # so that a double click puts a letter back only once
                letters = [letter for letter in self._dead.all() if not letter.replayed and wanted(letter)]
                count = self._dead.put_back(letters)
        except PipelineError as error:
            return self._render(request, "problem.html", 503, title="Not put back", text=str(error))
        pairs = [*_filters(wanted), ("put_back", str(count))]
        # Relative, so that it also works behind a proxy that serves the page below a path.
        return RedirectResponse(f"../dead-letters?{urlencode(pairs)}", 303)


_FILTERS = ("stage", "run", "region", "symbol", "error_type")


def _wanted(given: Mapping[str, str], letter_id: str | None = None) -> LetterFilter:
    chosen: dict[str, Any] = {name: (given.get(name) or "").strip() or None for name in _FILTERS}
    addresses.choice(chosen["stage"], "stage", STAGES, "")
    if chosen["run"] is not None:
        try:
            run_started_at(chosen["run"])
        except MessageError as error:
            raise HTTPException(400, str(error)) from None
    region = chosen["region"]
    if region is not None and not (len(region) == 2 and region.isascii() and region.isalpha() and region.islower()):
        raise addresses.refused("region", region, "two lower-case letters, such as fr")
    for name in ("symbol", "error_type"):
        if len(chosen[name] or "") > LONGEST_TEXT:
            raise addresses.refused(name, chosen[name], f"at most {LONGEST_TEXT} characters")
    if letter_id is not None and not _is_letter_id(letter_id):
        raise addresses.refused("letter", letter_id, "a letter's name, such as processing/1/17")
    replayed_too = addresses.choice(given.get("replayed"), "replayed", ("0", "1"), "0") == "1"
    return LetterFilter(**chosen, replayed_too=replayed_too, letter_id=letter_id)


def _is_letter_id(text: str) -> bool:
    stage, _, place = text.partition("/")
    numbers = place.split("/")
    return stage in STAGES and len(numbers) == 2 and all(number.isdecimal() and number.isascii() for number in numbers)


def _filters(wanted: LetterFilter) -> list[tuple[str, str]]:
    pairs = [(name, str(getattr(wanted, name))) for name in _FILTERS if getattr(wanted, name)]
    return pairs + ([("replayed", "1")] if wanted.replayed_too else [])


def _choices(letters: list[Letter]) -> dict[str, list[tuple[str, int]]]:
    """Filter → its values, each with its number of letters, the most frequent first."""
    counts: dict[str, dict[str, int]] = {name: {} for name in _FILTERS}
    for letter in letters:
        task = letter.task
        values = {"stage": letter.stage.name, "error_type": letter.headers.get("error-type", "")[:LONGEST_TEXT]}
        if task is not None:
            values["run"] = task.run_id
            values["region"] = task.country_code if isinstance(task, ProcessingTask) else task.region_code
        for name, value in values.items():
            if value:
                counts[name][value] = counts[name].get(value, 0) + 1
    return {name: sorted(found.items(), key=lambda item: (-item[1], item[0]))[:100] for name, found in counts.items()}
