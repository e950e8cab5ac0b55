"""Makes, encodes, decodes and checks the messages on the topics. Pure.

Every message is a UTF-8 JSON object with `task_id`, `run_id`, `timestamp` (ISO 8601, UTC) and `status`. Unknown fields
are ignored here. Retries and dead letters keep them, because they carry the original bytes.
"""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, NoReturn

from pipeline.errors import MessageError
from pipeline.wire import quotes
from pipeline.wire.bands import WantedBand
from pipeline.wire.market_cap import parse_market_cap
from pipeline.wire.text import clean_name

#: Longest error text in a message or header, in characters.
ERROR_TEXT_LIMIT = 1000
_RUN_ID = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-f]{4}")
_REGION = re.compile(r"[a-z]{2}")


def new_run_id(now: datetime | None = None) -> str:
    """A new run_id: UTC start and four hex digits, so that run_ids sort by time."""
    return f"{(now or datetime.now(timezone.utc)):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def run_started_at(run_id: str) -> datetime:
    """The start time in a run_id. Raises MessageError."""
    match = _RUN_ID.fullmatch(run_id)
    if match is None:
        raise MessageError(f"run_id {run_id[:60]!r}: expected one such as 20261124T071326Z-1f3a")
    try:
        found = datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    except ValueError as error:
        raise MessageError(f"run_id {run_id!r}: {error}") from None
    if not 2000 <= found.year < 2200:
        raise MessageError(f"run_id {run_id!r}: no run begins in the year {found.year}")
    return found


def now_text() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def time_text(epoch_seconds: float) -> str:
    """ISO 8601, UTC. Empty if the time is out of range: a record's timestamp may be any number."""
    try:
        return datetime.fromtimestamp(epoch_seconds, timezone.utc).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return ""


@dataclass(frozen=True)
class ScrapingTask:
    """One region and market-cap band; the bounds are whole units of the region's own currency, both included."""

    run_id: str
    region_code: str
    region_name: str
    market_cap_min: int
    market_cap_max: int
    #: What the user asked for, in one money for all regions; without it the bounds were given in the region's currency.
    wanted: WantedBand | None = None

    @property
    def task_id(self) -> str:
        return f"scrape:{self.run_id}:{self.region_code}:{self.market_cap_min}-{self.market_cap_max}"

    @property
    def key(self) -> str:
        return self.task_id

    def fields(self) -> dict[str, Any]:
        return {
            "task_id": self.task_id,
            "run_id": self.run_id,
            "region_code": self.region_code,
            "region_name": self.region_name,
            "market_cap_min": self.market_cap_min,
            "market_cap_max": self.market_cap_max,
            **({"wanted": self.wanted.fields()} if self.wanted else {}),
        }

    def __str__(self) -> str:
        return self.task_id


@dataclass(frozen=True)
class ProcessingTask:
    """One stock."""

    run_id: str
    symbol: str
    name: str
    country_code: str
    #: What the listing's answer said, by the site's own field names, with `seen_at` (pipeline/wire/quotes.py); empty if it said nothing.
    quote: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def task_id(self) -> str:
        return f"process:{self.run_id}:{self.symbol}"

    @property
    def key(self) -> str:
        return self.symbol

    def fields(self) -> dict[str, Any]:
        return {
            "task_id": self.task_id,
            "run_id": self.run_id,
            "symbol": self.symbol,
            "name": self.name,
            "country_code": self.country_code,
        }

    def __str__(self) -> str:
        return self.task_id


Task = ScrapingTask | ProcessingTask


def encode(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, allow_nan=False, ensure_ascii=False).encode()


def pending(task: Task, requests: int = 0) -> bytes:
    """The message that assigns a task. `requests`: how many its sender has made to the site since the last one that it sent."""
    # Only tasks have the quote. Completions and errors do not need it.
    quote = {"quote": dict(task.quote)} if isinstance(task, ProcessingTask) and task.quote else {}
    asked = {"requests": requests} if requests else {}
    return encode({**task.fields(), **quote, **asked, "timestamp": now_text(), "status": "pending"})


def error_message(task: Task, error: str, error_type: str, attempt: int, final: bool, requests: int = 0) -> bytes:
    """Status `retrying`: the task comes back. `failed`: final, it is in the dead letters. `requests`: how many the attempt took."""
    return encode(
        {
            **task.fields(),
            "timestamp": now_text(),
            "error": clean_text(error)[:ERROR_TEXT_LIMIT],
            "error_type": error_type,
            "attempt": attempt,
            "requests": requests,
            "status": "failed" if final else "retrying",
        }
    )


def clean_text(text: str) -> str:
    """`text` without what PostgreSQL and UTF-8 refuse: NUL and lone surrogates become U+FFFD."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def decode(raw: bytes | None) -> dict[str, Any]:
    """Bytes of any topic → the message's fields. Raises MessageError if they are not one of this pipeline's messages."""
    if raw is None:
        raise MessageError("no value")
    try:
        fields = json.loads(raw.decode("utf-8"), parse_constant=_refuse, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise MessageError(f"not UTF-8: {error}") from None
    except RecursionError:
        raise MessageError("not readable: nested too deeply") from None
    except ValueError as error:
        raise MessageError(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise MessageError(f"not a JSON object but {type(fields).__name__}")
    run_started_at(_text(fields, "run_id"))
    _text(fields, "task_id")
    _text(fields, "status")
    return fields


def scraping_task(raw: bytes | None) -> ScrapingTask:
    """Bytes of `stock-scraping-tasks` → the task. Raises MessageError."""
    fields = decode(raw)
    bounds = []
    for name in ("market_cap_min", "market_cap_max"):
        try:
            bounds.append(parse_market_cap(fields.get(name, "")))
        except ValueError as error:
            raise MessageError(f"{name}: {error}") from None
    if bounds[0] > bounds[1]:
        raise MessageError(f"market_cap_min {bounds[0]} is above market_cap_max {bounds[1]}")
    try:
        wanted = WantedBand.read(fields["wanted"]) if fields.get("wanted") is not None else None
    except ValueError as error:
        raise MessageError(f"wanted: {error}") from None
    run_id, region = _text(fields, "run_id"), _region(fields, "region_code")
    task = ScrapingTask(run_id, region, clean_name(_text(fields, "region_name")), bounds[0], bounds[1], wanted)
    return _same_id(task, fields)


def processing_task(raw: bytes | None) -> ProcessingTask:
    """Bytes of `stock-processing-tasks` → the task. Raises MessageError."""
    fields = decode(raw)
    symbol = _text(fields, "symbol", 64)
    if not symbol.isprintable() or symbol != symbol.strip():
        raise MessageError(f"symbol {symbol!r}: expected no white space around it and no control or invisible characters")
    quote = fields.get("quote")
    task = ProcessingTask(
        _text(fields, "run_id"),
        symbol,
        clean_name(_text(fields, "name", least=0)),
        _region(fields, "country_code"),
        quotes.cleaned(quote) if isinstance(quote, dict) else {},
    )
    return _same_id(task, fields)


def _same_id(task: Any, fields: dict[str, Any]) -> Any:
    # Counts are over distinct task_ids. A task_id that does not match its task would be counted as another task.
    if fields["task_id"] != task.task_id:
        raise MessageError(f"task_id {fields['task_id'][:100]!r}: expected {task.task_id[:200]!r}")
    return task


def _text(fields: dict[str, Any], name: str, most: int = 1000, least: int = 1) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise MessageError(f"{name}: expected a text, found {type(value).__name__}")
    if value != clean_text(value):
        raise MessageError(f"{name}: contains a NUL or a lone surrogate")
    if not least <= len(value) <= most:
        raise MessageError(f"{name}: expected {least} to {most} characters, found {len(value)}")
    return value


def is_region(text: str) -> bool:
    return _REGION.fullmatch(text) is not None


def _region(fields: dict[str, Any], name: str) -> str:
    value = _text(fields, name)
    if not is_region(value):
        raise MessageError(f"{name} {value[:20]!r}: expected two lower-case letters, such as fr")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large")
    return value
