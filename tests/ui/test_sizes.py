"""Sizes: compared in dollars, shown beside the amount in the currency that the stock is traded in."""

from __future__ import annotations

import csv
import html
import io
import re
from datetime import date
from urllib.parse import parse_qsl, urlencode

import pytest

from config import Kafka
from pipeline.ratios.formulas import RATIOS
from pipeline.ratios.rows import RatioRow
from pipeline.stocks.listed import ListedSize, listed_size
from pipeline.storage import database
from pipeline.storage.rows import Profile, Write, write
from tests.ui.conftest import environment, fill, page_process
from ui import forms

#: symbol → trading unit, dollars for one unit of its currency, statements' currency, market cap in dollars
TRADED = {
    "YEN.T": ("JPY", 0.0067, "JPY", 300e6),
    "WON.KS": ("KRW", 0.0007, "KRW", 299e6),
    "RUPIAH.JK": ("IDR", 0.00006, "USD", 450e6),
    "PENCE.L": ("GBp", 1.3, "GBP", 2000e6),
    "AGOROT.TA": ("ILA", 0.3, "ILS", 700e6),
    "CENTS.JO": ("ZAc", 0.055, "ZAR", 2001e6),
    "FILS.KW": ("KWF", 3.25, "KWD", 1000e6),
}


def row(symbol: str, period_type: str = "ttm", day: date = date(2026, 3, 31), factor: float = 1.0) -> RatioRow:
    unit, rate, currency, dollars = TRADED[symbol]
    values: dict[str, float | None] = dict.fromkeys(RATIOS, 1.0)
    in_statements = 1.0 if currency == "USD" else rate
    dollars *= factor
    values |= {"market_cap": dollars / in_statements, "market_cap_usd": dollars, "enterprise_value": 2 * dollars / in_statements}
    market = {"quote_currency": unit, "rate_to_usd": rate}
    return RatioRow(symbol, period_type, day, currency, values, {}, {"lines": {}, "market": market, "piotroski": {}}, {})


@pytest.fixture(scope="module")
def sizes(postgres):
    fill(postgres)
    connection = database.connect(postgres)
    profiles = [Profile(symbol, symbol, "jp", "X", "Energy", "Things", unit, "") for symbol, (unit, *_) in TRADED.items()]
    profiles += [Profile(symbol, symbol, "gb", "X", "Energy", "Things", "GBp", "") for symbol in ("NEW.L", "UNSURE.L")]
    rows = [("r", found) for symbol in TRADED for found in (row(symbol), row(symbol, "annual", date(2025, 3, 31), 0.5))]
    write(connection, [Write(countries={"jp": "Japan", "gb": "United Kingdom"}, profiles=profiles, ratios=rows)])
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO quote (symbol, seen_at, market_cap, currency, price, shares_outstanding) VALUES "
            "('NEW.L', now(), 4e10, 'GBp', 400, 1e8), ('UNSURE.L', now(), 4e10, 'GBp', NULL, 1e8)"
        )
    yield postgres
    with connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM quote")
    connection.close()


@pytest.fixture(scope="module")
def page(sizes, tmp_path_factory):
    with page_process(tmp_path_factory.mktemp("sizes"), environment(Kafka(bootstrap_servers="127.0.0.1:1"), sizes)) as found:
        yield found


def symbols(text: str) -> list[str]:
    return [html.unescape(symbol) for symbol in re.findall(r'data-symbol="([^"]*)"', text)]


BY_SIZE = ["CENTS.JO", "PENCE.L", "FILS.KW", "AGOROT.TA", "RUPIAH.JK", "YEN.T", "WON.KS"]


def test_a_row_with_absurd_amounts_is_not_an_error(page, sizes):
    connection = database.connect(sizes)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT market_cap, market_cap_usd, enterprise_value FROM financial_ratios WHERE symbol = 'AAA.PA' LIMIT 1")
        kept = cursor.fetchone()
    for absurd in [(1e-300, 1e300, 1e300), (1e300, 1e-300, 1.0), (0.0, 5.0, 5.0), (float("nan"),) * 3, (float("inf"), 1.0, -float("inf"))]:
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "UPDATE financial_ratios SET market_cap = %s, market_cap_usd = %s, enterprise_value = %s WHERE symbol = 'AAA.PA'", absurd
            )
        for address in ("stocks?sort=enterprise_value", "stocks.csv?range=enterprise_value:1:", "distribution?ratio=enterprise_value"):
            assert page.ask(f"/{address}").status == 200, (absurd, address)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE financial_ratios SET market_cap = %s, market_cap_usd = %s, enterprise_value = %s WHERE symbol = 'AAA.PA'", kept
        )
    connection.close()


@pytest.mark.parametrize("column", ["market_cap_usd", "market_cap", "enterprise_value"])
def test_companies_are_sorted_and_filtered_in_dollars_whichever_amount_is_shown(page, column):
    factor = 2 if column == "enterprise_value" else 1
    assert symbols(page.ask(f"/stocks?region=jp&sort=-{column}").text) == BY_SIZE
    low, high = 300_000_000 * factor, 2_000_000_000 * factor
    assert symbols(page.ask(f"/stocks?region=jp&range={column}:{low}:{high}&sort=-{column}").text) == BY_SIZE[1:-1]
    download = page.ask(f"/stocks.csv?region=jp&range={column}:{low}:{high}&sort=-{column}").text
    assert [one["symbol"] for one in csv.DictReader(io.StringIO(download, newline=""))] == BY_SIZE[1:-1]


def test_the_listings_own_amount_stands_beside_the_dollars(page):
    text = page.ask("/stocks?region=jp&sort=-market_cap").text
    found = re.findall(r'class="number listed" data-value="([^"]*)" data-currency="([^"]*)" title="([^"]*)">([^<]*)<', text)
    assert [currency for _, currency, *_ in found] == ["ZAR", "GBP", "KWD", "ILS", "IDR", "JPY", "KRW"]
    for symbol, (amount, *_) in zip(BY_SIZE, found, strict=True):
        _, rate, _, dollars = TRADED[symbol]
        assert float(amount) == pytest.approx(dollars / rate), symbol
    assert found[4][2:] == ("7,500,000,000,000 IDR", "7.50T IDR")
    assert 'title="2,000,000,000 USD">2,000M<' in text


def test_a_stock_without_figures_shows_its_quoted_size_if_the_unit_is_known(page):
    found = {one["symbol"]: one for one in csv.DictReader(io.StringIO(page.ask("/stocks.csv?region=gb").text, newline=""))}
    assert (float(found["NEW.L"]["listed_market_cap"]), found["NEW.L"]["listed_currency"]) == (4e8, "GBP")
    assert (found["UNSURE.L"]["listed_market_cap"], found["UNSURE.L"]["listed_currency"]) == ("", "")
    shown = re.findall(r'class="number listed[^>]*>([^<]*)<', page.ask("/stocks?region=gb&sort=symbol").text)
    assert shown == ["400M GBP", "—"]


def test_a_fiscal_year_has_the_market_cap_of_its_closing_day(page):
    found = list(csv.DictReader(io.StringIO(page.ask("/stocks.csv?period=annual&q=PENCE").text, newline="")))
    assert [(float(one["listed_market_cap"]), one["listed_currency"]) for one in found] == [(pytest.approx(1e9 / 1.3), "GBP")]


def test_charts_compare_sizes_in_dollars(page):
    text = page.ask("/distribution?ratio=enterprise_value&region=jp").text
    assert "Enterprise value in dollars by region" in text
    assert "4,002M" in text
    assert "Market cap in dollars" in page.ask("/scatter?x=market_cap&y=price_to_book&region=jp").text


QUOTE = (4e8, "GBP", 4.0, 1e8)


@pytest.mark.parametrize(
    ("row", "quote", "expected"),
    [
        (("ttm", {"quote_currency": "USD", "rate_to_usd": 1.0}, 8e8, 9e8, "EUR"), QUOTE, ListedSize(9e8, "USD")),
        # No rate to the dollar, but the statements are in the same currency.
        (("ttm", {"quote_currency": "VES"}, 8e8, None, "VES"), QUOTE, ListedSize(8e8, "VES")),
        (("ttm", {"quote_currency": "VES"}, 8e8, None, "USD"), (4e8, "VES", 4.0, 1e8), ListedSize(4e8, "VES")),
        (("annual", {"quote_currency": "VES"}, None, None, "USD"), QUOTE, None),
        # What others wrote into `inputs`.
        (("ttm", [1], 8e8, 9e8, "EUR"), QUOTE, ListedSize(4e8, "GBP")),
        (("ttm", {"quote_currency": 5, "rate_to_usd": "x"}, 8e8, 9e8, "EUR"), QUOTE, ListedSize(4e8, "GBP")),
        (("ttm", {"quote_currency": "GBP", "rate_to_usd": float("inf")}, float("nan"), 9e8, "EUR"), QUOTE, ListedSize(4e8, "GBP")),
        ((None,) * 5, QUOTE, ListedSize(4e8, "GBP")),
        ((None,) * 5, (4e8, "gbp", None, None), ListedSize(4e8, "GBP")),
        ((None,) * 5, (4e8, "", 4.0, 1e8), None),
        ((None,) * 5, (None, "GBP", 4.0, 1e8), None),
        ((None,) * 5, (0.0, "GBP", 4.0, 1e8), None),
        ((None,) * 5, (4e10, "ZAc", 400.0, 1e8), ListedSize(4e8, "ZAR")),
        ((None,) * 5, (4e8, "ila", 400.0, 1e8), ListedSize(4e8, "ILS")),
        ((None,) * 5, (4e11, "KWF", 400.0, 1e9), ListedSize(4e8, "KWD")),
        ((None,) * 5, (4e8, "GBp", 0.0, 1e8), None),
        ((None,) * 5, (None, None, None, None), None),
    ],
)
def test_the_size_of_a_listing_needs_a_witness(row, quote, expected):
    assert listed_size(*row, *quote) == expected


@pytest.mark.parametrize(
    ("typed", "bound"),
    [
        ("300M", "300000000"),
        ("1.5b", "1500000000"),
        ("1,5B", "1500000000"),
        ("2T", "2e+12"),
        ("15 %", "0.15"),
        ("15%", "0.15"),
        ("0,125", "0.125"),
        ("x", "x"),
    ],
)
def test_bounds_may_be_typed_with_suffixes(typed, bound):
    address = forms.from_form([("ratio", "market_cap"), ("min", typed), ("max", "")])
    assert address == urlencode([("range", f"market_cap:{bound}:")])


@pytest.mark.parametrize("typed", ["1,500M", "-1,500", "12,000.5", "1,500,000"])
def test_a_bound_with_thousands_separators_is_refused_and_not_taken_for_a_thousandth(typed):
    view = forms.read(parse_qsl(forms.from_form([("ratio", "market_cap"), ("min", typed), ("max", "")])))
    assert view.screen.ranges == ()
    assert "without thousands separators" in view.problems["range"]


def test_the_filter_says_that_its_bounds_are_in_dollars():
    view = forms.read([("range", "market_cap:300M:2B"), ("range", "enterprise_value::5B")])
    assert view.labels() == ["Market cap in dollars 300M to 2,000M", "Enterprise value in dollars to 5,000M"]
    assert dict(view.problems) == {}
