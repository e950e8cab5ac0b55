"""What is kept of a list, what is kept out, and when nothing of it can be relied on."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BandCurrencyMismatch
from pipeline.screener.answers import Listing
from pipeline.screener.band_check import BandCheck, Size, Verdict, judge, size_of
from pipeline.wire.bands import WantedBand, converted
from pipeline.wire.currencies import DayRate
from pipeline.wire.messages import ScrapingTask

DAY = date(2026, 11, 27)
LOW, HIGH = 300_000_000, 2_000_000_000
RATES = {"USDJPY": DayRate(DAY, 150.0), "USDGBP": DayRate(DAY, 0.76), "USDEUR": DayRate(DAY, 0.86)}


def task(region: str = "jp", rate: float = 149.2, low: int = LOW, high: int = HIGH, currency: str = "USD") -> ScrapingTask:
    return ScrapingTask("20261124T071326Z-1f3a", region, "Japan", *converted(low, high, rate), WantedBand(low, high, currency, rate, DAY))


def listing(symbol: str, cap: float | None, currency: str = "JPY", **more: Any) -> Listing:
    quote = {"marketCap": cap, "currency": currency, **more}
    return Listing(symbol, symbol, {name: value for name, value in quote.items() if value is not None})


def kept(check: BandCheck, *pages: list[Listing]) -> list[str]:
    return [one.symbol for page in check.pages(pages) for one in page]


def no_rates() -> dict[str, DayRate]:
    raise AssertionError("no other currency was listed")


def test_stocks_between_the_exact_and_the_rounded_bound_are_left_out_and_counted() -> None:
    # 300 million dollars are 44.76 billion yen, and the site was asked from 44.7 on.
    caps = {"BELOW": 44_759_999_999, "LOW": 44_760_000_000, "HIGH": 298_400_000_000, "ABOVE": 298_400_000_001}
    check = BandCheck(task(), no_rates)
    assert kept(check, [listing(symbol, cap) for symbol, cap in caps.items()]) == ["LOW", "HIGH"]
    assert (check.outside, check.unconverted) == (2, 0)


def test_listings_in_other_currencies_are_converted_at_their_rate() -> None:
    listings = [
        listing("USD_IN", 400_000_000, "USD"),
        listing("USD_LOW", 250_000_000, "USD"),
        listing("EUR_IN", 260_000_000, "EUR"),  # 302 million dollars
        listing("EUR_LOW", 250_000_000, "EUR"),  # 291
        listing("KRW_UNKNOWN", 420_000_000_000, "KRW"),
        listing("GBP", 300_000_000, "GBp"),
    ]
    check = BandCheck(task("gb", 0.76), lambda: RATES)
    assert kept(check, listings) == ["USD_IN", "EUR_IN", "GBP"]
    assert (check.outside, check.unconverted) == (2, 1)


def test_other_currencies_do_not_mean_that_the_site_filters_by_something_else() -> None:
    own = [listing(f"G{number}", 300_000_000, "GBp") for number in range(10)]
    foreign = [listing(f"U{number}", 250_000_000, "USD") for number in range(40)]
    check = BandCheck(task("gb", 0.76), no_rates)
    assert kept(check, own, foreign) == [one.symbol for one in own]
    assert check.outside == 40


def test_a_narrow_band_does_not_mean_that_the_site_filters_by_something_else() -> None:
    # 300 to 301 million dollars: rounded outward it is three times as wide.
    check = BandCheck(task(low=300_000_000, high=301_000_000), no_rates)
    found = kept(check, [listing(str(number), 44_700_000_000 + number * 10_000_000) for number in range(31)])
    assert found == [str(number) for number in range(6, 21)]
    assert check.outside == 16


def test_a_site_that_filters_in_dollars_is_caught_with_three_examples() -> None:
    # What is worth 44.7 to 299 billion dollars, in yen.
    listings = [listing(f"{1000 + number}.T", (50 + number) * 149.2e9) for number in range(6)]
    check = BandCheck(task(), no_rates)
    with pytest.raises(BandCurrencyMismatch) as error:
        kept(check, listings)
    text = str(error.value)
    assert "6 of 6 stocks that it lists are not 44.7B to 299B JPY, such as 1000.T (7.46T JPY), 1001.T (7.61T JPY), 1002.T" in text
    assert "1003.T" not in text
    assert error.value.error_type == "BandCurrencyMismatch"
    # Five are too few to say so: they are kept out.
    assert kept(check, listings[:5]) == []
    assert check.outside == 5
    # So is a tenth.
    inside = [listing(str(number), 100_000_000_000) for number in range(54)]
    assert len(kept(check, listings, inside)) == 54


def test_a_region_listed_in_an_unexpected_currency_is_caught() -> None:
    with pytest.raises(BandCurrencyMismatch, match="does not filter Japan by market caps in JPY: 6 of 6"):
        kept(BandCheck(task(), no_rates), [listing(str(number), 60_000_000_000, "USD") for number in range(6)])


def test_no_stock_is_emitted_before_all_are_compared() -> None:
    pages = [[listing("GOOD", 100_000_000_000)], [listing(str(number), 1.0) for number in range(6)]]
    given_out = BandCheck(task(), no_rates).pages(pages)
    with pytest.raises(BandCurrencyMismatch):
        next(given_out)


@pytest.mark.parametrize("currency", ["JPY", ""])
def test_a_site_that_does_not_filter_at_all_is_caught_in_local_currency(currency: str) -> None:
    local = ScrapingTask("20261124T071326Z-1f3a", "jp", "Japan", LOW, HIGH)
    # It filters in dollars.
    fits = [listing(f"{number}.T", LOW * 149.2 * 1.07**number, currency) for number in range(28)]
    assert len(kept(BandCheck(local, no_rates), fits)) == 28
    spread = [listing(f"{number}.T", LOW * 1.5**number, currency) for number in range(28)]
    with pytest.raises(BandCurrencyMismatch, match=r"does not filter by market cap: 28 stocks .* at most 5 of them fit .* Nothing of the"):
        kept(BandCheck(local, no_rates), spread)


def test_a_task_in_local_currency_is_not_checked() -> None:
    local = ScrapingTask("20261124T071326Z-1f3a", "jp", "Japan", LOW, HIGH)
    check = BandCheck(local, no_rates)
    assert len(kept(check, [listing(str(number), 1.0, "USD") for number in range(20)])) == 20
    assert check.outside == 0


@pytest.mark.parametrize("code", ["JPY", "jpy", " jpy ", ""])
def test_the_case_of_a_currency_does_not_matter(code: str) -> None:
    assert kept(BandCheck(task(), no_rates), [listing("IN", 50_000_000_000, code), listing("OUT", 44_750_000_000, code)]) == ["IN"]


@pytest.mark.parametrize("cap", [None, 0, -5])
def test_a_stock_without_a_market_cap_is_kept(cap: float | None) -> None:
    check = BandCheck(task(), no_rates)
    assert kept(check, [listing("A", cap), Listing("B", "B")], [listing("A", cap)]) == ["A", "B", "A"]
    assert check.outside == 0


def test_a_market_cap_without_a_currency_is_in_the_regions_currency() -> None:
    check = BandCheck(task(), no_rates)
    assert kept(check, [listing("IN", 50_000_000_000, ""), listing("OUT", 44_750_000_000, "")]) == ["IN"]
    assert check.outside == 1


@pytest.mark.parametrize(
    ("quote", "expected"),
    [
        ({"marketCap": 4e8, "currency": "GBp", "regularMarketPrice": 400, "sharesOutstanding": 1e8}, Size(4e8, "GBP")),
        ({"marketCap": 4e10, "currency": "GBp", "regularMarketPrice": 400, "sharesOutstanding": 1e8}, Size(4e8, "GBP")),
        # In pounds, though the number in pence would fit the bounds: price × shares says so.
        ({"marketCap": 4e10, "currency": "GBp", "regularMarketPrice": 40_000, "sharesOutstanding": 1e8}, Size(4e10, "GBP")),
        ({"marketCap": 4e8, "currency": "GBp"}, Size(4e8, "GBP")),
        ({"marketCap": 4e10, "currency": "GBp"}, Size(4e8, "GBP")),
        ({"marketCap": 4e13, "currency": "GBp", "regularMarketPrice": 0}, Size(4e13, "GBP")),
        ({"marketCap": 4e11, "currency": "KWF", "regularMarketPrice": 400, "sharesOutstanding": 1e9}, Size(4e8, "KWD")),
        ({"marketCap": 4e8, "currency": "KWF", "regularMarketPrice": 400, "sharesOutstanding": 1e9}, Size(4e8, "KWD")),
        ({"marketCap": 4e10, "currency": "GBP"}, Size(4e10, "GBP")),
        ({"marketCap": 4e10, "currency": "gbp"}, Size(4e10, "GBP")),
        ({"marketCap": 4e10, "currency": "ILA"}, Size(4e8, "ILS")),
        ({"marketCap": 4e10, "currency": "ila"}, Size(4e8, "ILS")),
        ({"marketCap": 4e10, "currency": "ZAc"}, Size(4e8, "ZAR")),
        ({"marketCap": 4e10, "currency": "gbx"}, Size(4e8, "GBP")),
        ({"marketCap": "4e8", "currency": "GBP"}, None),
        ({"currency": "GBP"}, None),
        ({}, None),
    ],
)
def test_pence_are_distinguished_from_pounds(quote: dict[str, Any], expected: Size | None) -> None:
    found = size_of(quote, 228_000_000, 1_520_000_000)
    assert found == expected


@given(st.integers(1, 10**12), st.integers(1, 10**12), st.floats(1e-3, 1e5), st.integers(1, 10**13))
def test_the_verdict_compares_sizes_in_the_bands_currency(one: int, other: int, rate: float, cap: int) -> None:
    low, high = sorted((one, other))
    wanted = WantedBand(low, high, "USD", rate, DAY)
    verdict = judge(Size(cap, "JPY"), wanted, "JPY", no_rates)
    assert verdict is judge(Size(cap, ""), wanted, "JPY", no_rates)
    value = cap / rate
    if not any(math.isclose(value, bound, rel_tol=1e-8) for bound in (low, high)):
        assert (verdict is Verdict.INSIDE) == (low <= value <= high)


@pytest.mark.parametrize(("low", "high", "expected"), [(None, 5, Verdict.INSIDE), (5, None, Verdict.OUTSIDE), (None, None, Verdict.INSIDE)])
def test_an_open_bound_excludes_nothing(low: int | None, high: int | None, expected: Verdict) -> None:
    assert judge(Size(4, "USD"), WantedBand(low, high, "USD", 1.0, DAY), "USD", no_rates) is expected
