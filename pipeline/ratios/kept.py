"""`Fundamentals` as JSON and back: what is kept of a company so that its rows can be computed without the site. Pure.

All fields are kept but those of the quote and the rates, which belong to one day. The price is kept beside the newest close, since the two
show each other's unit. A new field of `Fundamentals` is kept without a change here, if it is made of texts, numbers, days, tuples, mappings
and dataclasses.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from datetime import date
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from pipeline.ratios.fundamentals import Fundamentals, Point, Points, Statements

#: Fields that belong to one day.
OF_THE_DAY = frozenset({"symbol", "as_of", "market_cap", "shares_outstanding", "quoted_on", "rates"})
#: What makes a version: what the company has published, and in which units.
_CONTENT = ("statements", "splits", "currency", "financial_currency", "chart_currency")


#: Sorted, so that the same content gives the same text in whatever order it came.
_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


class Kept(NamedTuple):
    """A payload of `company_statements` as JSON text, and the hash of what makes it a version."""

    text: str
    content_hash: str


def to_text(found: Fundamentals) -> Kept:
    """What is kept of a company; what is None or empty is left out."""
    payload = {one.name: _encoded(getattr(found, one.name)) for one in fields(found) if one.name not in OF_THE_DAY}
    return as_text({name: value for name, value in payload.items() if value not in (None, {}, [])})


def as_text(payload: Mapping[str, Any]) -> Kept:
    """The same of a payload that was read."""
    # Each part is encoded once, for both: statements are ten thousand characters.
    texts = {name: f"{_encode(name)}:{_encode(value)}" for name, value in sorted(payload.items())}
    content = _joined(texts[name] for name in sorted(_CONTENT) if name in texts)
    # A text of the site may hold half a character. Whether the database takes it is not decided here.
    return Kept(_joined(texts.values()), hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest())


def _joined(members: Iterable[str]) -> str:
    return f"{{{','.join(members)}}}"


def from_payload(payload: Mapping[str, Any], **of_the_day: Any) -> Fundamentals:
    """The company with the fields of one day added. Fields that this version does not know are ignored."""
    decoders = _decoders()
    known = {name: decoders[name](value) for name, value in payload.items() if name in decoders}
    return Fundamentals(**known, **of_the_day)


def _encoded(value: Any) -> Any:
    if isinstance(value, Statements):
        return {one.name: _encoded_points(getattr(value, one.name)) for one in fields(value) if getattr(value, one.name)}
    if isinstance(value, Mapping):
        return {_key(key): _encoded(item) for key, item in value.items()}
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (tuple, list)):
        return [_encoded(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(_encoded(item) for item in value)
    if hasattr(value, "__dataclass_fields__"):
        return {one.name: _encoded(getattr(value, one.name)) for one in fields(value)}
    return value


def _key(key: Any) -> str:
    return key.isoformat() if isinstance(key, date) else str(key)


def _encoded_points(points: Points) -> dict[str, Any]:
    """key → [[day, value, currency], …], sorted: a company has hundreds of points."""
    return {key: [(_text(day), *point) for day, point in sorted(by_day.items())] for key, by_day in points.items()}


def _decoded_points(points: Mapping[str, Any]) -> dict[str, dict[date, Point]]:
    return {key: {_day(day): Point(float(value), currency) for day, value, currency in series} for key, series in points.items()}


@lru_cache(maxsize=8192)
def _text(day: date) -> str:
    return day.isoformat()


@lru_cache(maxsize=8192)
def _day(text: str) -> date:
    return date.fromisoformat(text)


@lru_cache(maxsize=1)
def _decoders() -> dict[str, Callable[[Any], Any]]:
    hints = get_type_hints(Fundamentals)
    return {one.name: _decoder(hints[one.name]) for one in fields(Fundamentals) if one.name not in OF_THE_DAY}


def _decoder(hint: Any) -> Callable[[Any], Any]:
    """How JSON becomes a value of this type."""
    if hint is Statements:
        return lambda value: Statements(**{name: _decoded_points(points) for name, points in value.items()})
    if hint is date:
        return _day
    if hint is float:
        return float
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        inner = _decoder(next(argument for argument in arguments if argument is not NoneType))
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            each = _decoder(arguments[0])
            return lambda value: tuple(each(item) for item in value)
        several = [_decoder(argument) for argument in arguments]
        return lambda value: tuple(decode(item) for decode, item in zip(several, value, strict=True))
    if origin is frozenset:
        one = _decoder(arguments[0])
        return lambda value: frozenset(one(item) for item in value)
    if origin is not None and issubclass(origin, Mapping):
        key, item = _decoder(arguments[0]), _decoder(arguments[1])
        return lambda value: {key(name): item(inner) for name, inner in value.items()}
    if hasattr(hint, "__dataclass_fields__"):
        parts = {name: _decoder(part) for name, part in get_type_hints(hint).items()}
        return lambda value: hint(**{name: parts[name](inner) for name, inner in value.items() if name in parts})
    return lambda value: value
