"""Formats numbers and times for people. Pure."""

from __future__ import annotations

import contextlib
import json
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

from pipeline.stocks.catalog import AMOUNT, CATALOG, DAYS, DOLLARS, MULTIPLE, PERCENT
from pipeline.wire.market_cap import UNITS

NOTHING = "—"
_MINUS = "\u2212"


def whole(number: float | None) -> str:
    """1,234,567"""
    return NOTHING if number is None else f"{number:,.0f}".replace("-", _MINUS)


def amount(number: float | None, currency: str = "") -> str:
    """1.23B EUR"""
    if number is None:
        return NOTHING
    # 999,999,999 is shown as 1.00B, not as 1000M.
    for letter, step in reversed(UNITS.items()):
        if abs(number) >= step * 0.9995:
            text = f"{number / step:.3g}" if abs(number) < 999.5 * step else f"{number / step:,.0f}"
            return f"{_signed(_padded(text))}{letter} {currency}".strip()
    return f"{_signed(f'{number:.4g}')} {currency}".strip()


def millions(number: float) -> str:
    """1,234M, so that sizes in one currency can be compared at a glance. Below ten million as `amount`."""
    return f"{_signed(f'{number / 10**6:,.0f}')}M" if abs(number) >= 10**7 else amount(number)


def exact(number: float | None, currency: str = "") -> str:
    """1,234,567,890 EUR: an amount with all its digits; empty for None."""
    return f"{whole(number)} {currency}".strip() if number is not None else ""


def _padded(text: str) -> str:
    """Pad to three significant digits: 1.20, not 1.2."""
    digits = len(text.lstrip("-").replace(".", ""))
    if digits >= 3 or "e" in text:
        return text
    return (text if "." in text else f"{text}.") + "0" * (3 - digits)


def _signed(text: str) -> str:
    return text.replace("-", _MINUS)


def figure(name: str, value: float | None, currency: str = "") -> str:
    """A ratio with its unit: 14.2 %, 12.3×, 45 d."""
    return in_unit(CATALOG[name].unit, value, currency)


def in_unit(unit: str, value: float | None, currency: str = "") -> str:
    """A figure in one of the catalog's units."""
    if value is None:
        return NOTHING
    if unit == AMOUNT:
        return amount(value, currency)
    if unit == DOLLARS:
        return millions(value)
    if unit == PERCENT:
        return f"{_signed(_grouped(value * 100, 1))} %"
    if unit == MULTIPLE:
        return f"{_signed(_grouped(value, 2))}×"
    if unit == DAYS:
        return f"{_signed(_grouped(value, 0))} d"
    return _signed(f"{value:.0f}" if value == int(value) else f"{value:.2f}")


def _grouped(value: float, digits: int) -> str:
    digits = max(0, digits - (abs(value) >= 100) - (abs(value) >= 1000))
    text = f"{value:,.{digits}f}"
    return text.removeprefix("-") if not text.strip("-0.,") else text


def line(key: str, value: Any) -> str:
    """A statement line or another input. Large numbers are shown without decimals."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return _signed(f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.6g}")


def seconds(value: float | None) -> str:
    """45 s, 3 min 20 s, 2 h 5 min"""
    if value is None:
        return NOTHING
    whole_seconds = int(value)
    if whole_seconds < 60:
        return f"{whole_seconds} s"
    if whole_seconds < 3600:
        return f"{whole_seconds // 60} min {whole_seconds % 60} s"
    return f"{whole_seconds // 3600} h {whole_seconds % 3600 // 60} min"


def moment(epoch_ms: int | None) -> str:
    """2026-11-24 08:01:52.123 (UTC)"""
    if epoch_ms is None or epoch_ms < 0:
        return NOTHING
    try:
        return f"{datetime.fromtimestamp(epoch_ms / 1000, timezone.utc):%Y-%m-%d %H:%M:%S}.{epoch_ms % 1000:03d}"
    except (OverflowError, ValueError, OSError):
        return str(epoch_ms)


def value_text(raw: bytes | None, most: int, size: int | None = None) -> str:
    """A message's value: indented JSON, else the text, with invalid UTF-8 escaped. Cut to `most` characters.

    `raw` may be only the beginning of a value of `size` bytes.
    """
    if raw is None:
        return "(no value)"
    size = len(raw) if size is None else size
    text = raw[: 4 * most].decode("utf-8", "backslashreplace")
    if size <= most:
        with contextlib.suppress(ValueError, RecursionError):  # if it is not JSON, it is shown as it is
            text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return text if len(text) <= most and size <= 4 * most else f"{text[:most]}\n… ({size:,} bytes)"


def stock_path(symbol: str) -> str:
    """Path of a stock's page below the root. A symbol may contain anything, even `/` and `..`."""
    # A browser resolves a segment of dots before it sends the request, even if they are escaped.
    return f"stocks?q={quote(symbol, safe='')}" if symbol in (".", "..") else f"stocks/{quote(symbol, safe='')}"
