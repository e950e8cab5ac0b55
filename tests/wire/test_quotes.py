"""What is kept of a listing's answer."""

from __future__ import annotations

from datetime import date, datetime, timezone

from pipeline.wire import quotes


def test_both_number_formats_and_both_sets_of_names_give_the_same_quote() -> None:
    plain = {"marketCap": 1_500_000_000, "regularMarketPrice": 12.5, "currency": "EUR", "sector": "Technology"}
    formatted = {
        "intradaymarketcap": {"raw": 1.5e9, "fmt": "1.5B"},
        "intradayprice": {"raw": 12.5, "fmt": "12.50"},
        "currency": "EUR",
        "sector": {"raw": "Technology"},
    }
    assert quotes.cleaned(plain) == quotes.cleaned(formatted) == plain


def test_invalid_fields_are_left_out() -> None:
    odd = {"marketCap": float("nan"), "bookValue": True, "trailingPE": {"fmt": "--"}, "currency": "--", "exchange": "\x1b[2J", "x": 1}
    assert quotes.cleaned(odd) == {"exchange": "[2J"}


def test_industries_are_spelled_as_in_a_profile() -> None:
    assert quotes.cleaned({"industry": "Software—Application"}) == {"industry": "Software - Application"}


def test_a_quote_is_dated_by_the_pipelines_day() -> None:
    now = datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    assert quotes.seen_at(date(2026, 6, 30), now) == "2026-06-30T03:04:05+00:00"
    assert quotes.cleaned({"seen_at": "2026-06-30T03:04:05"}) == {}, "a time without a zone is none"
