"""Parses the fields of addresses. An invalid value is answered with 400 and what is expected. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.exceptions import HTTPException

#: Most digits of a number: a Kafka offset has no more.
MOST_DIGITS = 18


def refused(name: str, text: str, expected: str) -> HTTPException:
    return HTTPException(400, f"{name} {text[:60]!r}: expected {expected}")


def whole_number(text: str | None, name: str, most: int = 10**MOST_DIGITS - 1) -> int | None:
    """The number, or None if nothing is given. Raises HTTPException 400."""
    text = (text or "").strip()
    if not text:
        return None
    if not (text.isdecimal() and text.isascii() and len(text) <= MOST_DIGITS and int(text) <= most):
        raise refused(name, text, f"a whole number from 0 to {most}")
    return int(text)


def choice(text: str | None, name: str, choices: Sequence[str], default: str) -> str:
    text = (text or "").strip()
    if not text:
        return default
    if text not in choices:
        shown = ", ".join(one for one in choices if one)
        raise refused(name, text, shown if len(shown) <= 300 else f"one of {len(choices)} names, such as {choices[0]}")
    return text


def edges(text: str | None) -> dict[int, int] | None:
    """`0:120,1:98`: partition → the offset below which the messages are. None if nothing is given."""
    if not text:
        return None
    found: dict[int, int] = {}
    for pair in text.split(","):
        numbers = [whole_number(part, "before") for part in pair.split(":")]
        if len(numbers) != 2 or None in numbers:
            raise refused("before", text, "pairs of partition and offset, such as 0:120,1:98")
        found[numbers[0] or 0] = numbers[1] or 0
    return found
