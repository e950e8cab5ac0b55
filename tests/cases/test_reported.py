"""Situations from public reports about the site's figures, and the ordinary ones that resemble them; the form is test_kinds'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.cases.direct import rows_of
from tests.cases.stand_in import BASE, MONTHS
from tests.cases.test_kinds import ABSENT, BEFORE_SPLIT, CAP, NULL, YEARS, Expected, counts, of_chart, split, wrong

POUNDS = {"financial_currency": "GBP", "fx": {"GBPUSD": {"price": 1.25}}}
NO_REVENUE: dict[str, Any] = dict.fromkeys(("*.TotalRevenue", "*.CostOfRevenue", "*.GrossProfit"))
BEFORE = YEARS[:3]
INCOME = ["TotalRevenue", "NetIncome", "DilutedEPS"]
EUROS = {"fx": {"EURUSD": {"price": 1.25}, "USDEUR": {"price": 0.8}}}


def every_amount(times: float) -> dict[str, Any]:
    return {table: {day: figure * times for day, figure in BASE[table].items()} for table in MONTHS}


def before_the_split(count: float) -> dict[str, Any]:
    """The count of the years before 2025, and earnings per share of so many shares."""
    return {"lines": counts(count, count, count, None), "times": {"annual.DilutedEPS": dict.fromkeys(BEFORE, 2e6 / count)}}


CASES: tuple[tuple[str, dict[str, Any], Expected], ...] = (
    # The whole quote in one wrong unit
    (
        "price, market cap and closes in pounds, labelled pence",
        {**POUNDS, "currency": "GBp", "price": 20, "market_cap": CAP},
        {"ttm market_cap": "price_unit", "2025 market_cap": "price_unit", "2025 return_on_equity": 0.1833333333},
    ),
    (
        "price and closes in pounds, labelled pence, and no market cap",
        {**POUNDS, "currency": "GBp", "price": 20, "quote": {"*.marketCap": None}},
        {"ttm market_cap": "no_price", "2025 market_cap": "price_unit"},
    ),
    (
        "price, market cap and closes in pence, labelled pounds",
        {**POUNDS, "currency": "GBP", "price": 2000, "market_cap": CAP * 100},
        {"ttm market_cap": "price_unit", "2025 market_cap": "price_unit"},
    ),
    (
        "market cap in pence, as the price",
        {**POUNDS, "currency": "GBp", "price": 2000, "market_cap": CAP * 100},
        {"ttm market_cap": CAP, "2025 market_cap": CAP},
    ),
    (
        "a company that is worth a twentieth of its revenue, in pence",
        {**POUNDS, "currency": "GBp", "price": 60},
        {"ttm market_cap": 6e7, "2025 market_cap": 6e7},
    ),
    (
        "price and market cap a third of that day's close",
        {"chart": {"levels": [["2016-12-30", 60]]}},
        {"ttm market_cap": "price_unit", "2025 market_cap": "price_unit", "2025 net_margin": 0.105},
    ),
    (
        "a close of two days before a fall by two thirds",
        {"chart": {"levels": [["2016-12-30", 60]], "end": "today-3d"}},
        {"ttm market_cap": CAP},
    ),
    # One class
    (
        "market cap and all counts of one class of two, by earnings per share",
        {"shares": 5e7, "times": {"*.DilutedEPS": 0.5}},
        {"ttm market_cap": "share_unit", "2025 market_cap": "share_unit", "2025 share_count_change": 0},
    ),
    (
        "all counts half of what earnings per share say, but for one year",
        {"shares": 5e7, "times": {"*.DilutedEPS": 0.5, "annual.DilutedEPS": {"2024-12-31": 2}}},
        {"ttm market_cap": CAP / 2, "2025 market_cap": CAP / 2},
    ),
    (
        "amounts in yuan, labelled dollars",
        {**every_amount(7.2), "times": {"*.DilutedEPS": 1 / 7.2}},
        {"ttm price_to_sales": "share_unit", "2025 price_to_sales": "share_unit", "ttm net_margin": 0.105},
    ),
    # The market cap in another currency than the price
    (
        "market cap in dollars beside a price in euros",
        {**EUROS, "currency": "EUR", "financial_currency": "EUR", "market_cap": CAP * 1.25},
        {"ttm market_cap": "share_unit", "2025 market_cap": CAP},
    ),
    (
        "market cap in the statements' euros beside a price in dollars",
        {**EUROS, "financial_currency": "EUR", "market_cap": CAP * 0.8},
        {"ttm market_cap": "share_unit", "2025 market_cap": CAP * 0.8},
    ),
    (
        "market cap a fifth less than price × shares, by no rate",
        {**EUROS, "currency": "EUR", "financial_currency": "EUR", "market_cap": CAP * 0.9},
        {"ttm market_cap": CAP * 0.9},
    ),
    # A split beside a large change of the count
    (
        "2:1 and two fifths bought back, earnings per share restated",
        {
            **split(["2025-05-02", 2, 1]),
            "lines": counts(*[5e8 / 6] * 3, None),
            "times": {"annual.DilutedEPS": dict.fromkeys(BEFORE, 0.6)},
        },
        {"2024 market_cap": CAP / 0.6, "2025 share_count_change": -0.4, "2025 diluted_eps_growth": 1.1 / 0.6 - 1},
    ),
    (
        "2:1 and two fifths bought back, by the cash flows",
        {
            **split(["2025-05-02", 2, 1]),
            "lines": {**counts(*[5e8 / 6] * 3, None), "annual.NetCommonStockIssuance": {"2025-12-31": -8e8}},
            "times": {"annual.DilutedEPS": dict.fromkeys(BEFORE, 1.2)},
        },
        {
            "2024 market_cap": "split_unclear",
            "2025 share_count_change": "split_unclear",
            "2025 diluted_eps_growth": "split_unclear",
            "2025 market_cap": CAP,
        },
    ),
    (
        "2:1 and a fifth more shares issued, all restated",
        {
            **split(["2025-05-02", 2, 1]),
            "lines": {**counts(*[5e8 / 6] * 3, None), "annual.NetCommonStockIssuance": {"2025-12-31": 3e8}},
            "times": {"annual.DilutedEPS": dict.fromkeys(BEFORE, 1.2)},
        },
        {"2024 market_cap": CAP / 1.2, "2025 share_count_change": 0.2, "2025 diluted_eps_growth": 1.1 / 1.2 - 1},
    ),
    (
        "2:1 ten days ago, and all of the quote of before it, the count of one class of two",
        {**split(["today-10d", 2, 1]), "shares": 5e7, "shares_outstanding": 2.5e7, "market_cap": CAP / 2},
        {"ttm market_cap": "split_unclear", "2025 market_cap": "split_unclear"},
    ),
    (
        "1:1000, earnings per share restated and counts not",
        {**split(["2025-05-02", 1, 1000]), "shares": 1e5, "price": 20000, "lines": counts(1e8, 1e8, 1e8, None)},
        {"2024 price_to_sales": 2, "2025 price_to_sales": 2 / 1.1, "ttm price_to_sales": 2 / 1.15, "2025 revenue_growth": 0.1},
    ),
    (
        "1:50 on the day it was announced for and again on the one it was made, counts as reported",
        {**split(["2025-05-02", 1, 50], ["2025-05-09", 1, 50]), "shares": 2e6, "price": 1000, **before_the_split(1e8)},
        {"2024 market_cap": CAP, "2025 share_count_change": 0, "2025 diluted_eps_growth": 0.1},
    ),
    (
        "4:1 forty days ago, and all but the price and earnings per share of before it",
        {**split(["today-40d", 4, 1]), "shares": 2.5e7, "times": {"*.DilutedEPS": 0.25}},
        {"ttm market_cap": NULL, "2025 market_cap": NULL, "2025 share_count_change": 0, "2025 diluted_eps_growth": 0.1},
    ),
    (
        "4:1 forty days ago, all restated but earnings per share",
        {**split(["today-40d", 4, 1]), "times": {"*.DilutedEPS": 4}},
        {"ttm market_cap": CAP, "2025 market_cap": CAP, "2025 share_count_change": 0},
    ),
    (
        "11:10, and not in the closes",
        {**split(["2025-05-02", 11, 10], levels=[["2016-12-30", 22], ["2025-05-02", 20]])},
        {"2024 market_cap": "price_unit", "2025 market_cap": CAP, "ttm market_cap": CAP},
    ),
    # Statements
    (
        "a revenue that is counted twice",
        {"times": {"annual.TotalRevenue": {"2024-12-31": 2}}},
        {
            "2024 price_to_sales": "missing:TotalRevenue",
            "2025 revenue_growth": NULL,
            "2025 price_to_sales": 2 / 1.1,
            "2024 price_to_earnings": 2e9 / 105e6,
        },
    ),
    (
        "single lines in thousands, or a thousand times too high, of one period each",
        {
            "times": {
                "annual.EBITDA": {"2024-12-31": 1e-3},
                "annual.InterestExpense": {"2022-12-31": 1e-3},
                "annual.CommonStockEquity": {"2023-12-31": 1e3},
                "quarterly.TotalDebt": {"2026-09-30": 1e3},
                "trailing.NetIncome": {"2026-09-30": 1e-6},
            }
        },
        {
            "2024 ebitda_margin": "missing:EBITDA",
            "2025 ebitda_margin": 0.2,
            "2022 interest_coverage": "missing:InterestExpense",
            "2023 price_to_book": 2e9 / 540e6,
            "ttm debt_to_assets": "missing:TotalDebt",
            "ttm net_margin": "missing:NetIncome",
            "ttm price_to_earnings": 2e9 / 120.75e6,
        },
    ),
    (
        "a debt that is repaid but for a few hundredths of a percent, earnings near zero, a first small dividend",
        {
            "times": {
                "annual.TotalDebt": {"2025-12-31": 4e-4},
                "annual.LongTermDebt": {"2025-12-31": 4e-4},
                "annual.EBIT": {"2024-12-31": 2e-3},
                "annual.CommonStockDividendPaid": {"2022-12-31": 2e-3, "2023-12-31": 0.3},
            }
        },
        {"2025 debt_to_assets": 0.25 * 4e-4 / 1.2, "2024 interest_coverage": 0.03, "2022 payout_ratio": 6e-5 / 0.105},
    ),
    (
        "trailing figures of June and September among the fiscal years",
        {"annual": {**BASE["annual"], "2025-06-30": [1050e6, 12, INCOME], "2025-09-30": [1080e6, 12, INCOME]}},
        {"2025 revenue_growth": 0.1, "2025 price_to_sales": 2 / 1.1, "2025 diluted_eps_growth": 0.1, "rows": 5},
    ),
    (
        "the oldest year is six months long, by a year before it that has no balance sheet",
        {"annual": {"2022-06-30": [750e6, 12, INCOME], **BASE["annual"]}},
        {"2022 price_to_sales": "period_length", "2023 revenue_growth": "period_length", "2024 revenue_growth": 1 / 9},
    ),
    (
        "no revenue, and trailing earnings that are the newest quarter's",
        {"lines": NO_REVENUE, "trailing": {"2025-09-30": 1080e6, "2026-09-30": [295e6, 12]}},
        {"ttm price_to_earnings": ABSENT, "2025 price_to_earnings": 2e9 / 115.5e6},
    ),
    (
        "no revenue, trailing earnings right",
        {"lines": NO_REVENUE},
        {"ttm price_to_earnings": 2e9 / 120.75e6, "ttm price_to_sales": "missing:TotalRevenue", "2025 return_on_equity": 0.1833333333},
    ),
    (
        "trailing figures of six months, and no quarters",
        {"quarterly": {}, "trailing": {"2025-06-30": [510e6, 6], "2026-06-30": [590e6, 6]}},
        {"ttm price_to_earnings": ABSENT, "2025 price_to_sales": 2 / 1.1},
    ),
    (
        "sales that fell by half, and no quarters",
        {
            "quarterly": {},
            "trailing": {"2026-06-30": 560e6},
            "times": dict.fromkeys(("trailing.NetIncome", "trailing.EBIT", "trailing.OperatingIncome", "trailing.PretaxIncome"), 0.3)
            | dict.fromkeys(("trailing.InterestExpense", "trailing.CapitalExpenditure", "trailing.FreeCashFlow"), 1.7),
        },
        {"ttm price_to_sales": 2 / 0.56, "ttm net_margin": 0.0315},
    ),
    # Not a share
    (
        "a warrant beside the company's own count",
        {"symbol": "KINDW", "price": 0.5, "quote": {"price.longName": "Kind Corp - Warrant", "*.marketCap": None}},
        {"ttm market_cap": "no_price", "2025 market_cap": "share_unit", "2025 net_margin": 0.105},
    ),
    (
        "a preferred share's price times the ordinary shares",
        {"symbol": "KIND-PB"},
        {"ttm market_cap": "share_unit", "2025 market_cap": NULL},
    ),
    ("one of two classes by its symbol", {"symbol": "KIND-B"}, {"ttm market_cap": CAP, "2025 market_cap": CAP}),
    ("units of a trust", {"symbol": "KIND-UN.TO"}, {"ttm market_cap": CAP, "2025 market_cap": CAP}),
)


@pytest.mark.parametrize(("changes", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_reported_fault_gives_no_wrong_number(changes: dict[str, Any], expected: Expected) -> None:
    assert wrong(rows_of({"symbol": "KIND", **changes}), expected) == {}


@pytest.mark.parametrize("form", [lambda seconds: seconds * 1000, float])
def test_times_in_milliseconds_or_with_a_fraction_cost_no_close(form: Callable[[int], float]) -> None:
    def change(result: dict[str, Any]) -> None:
        result["timestamp"] = [form(stamp) for stamp in result["timestamp"]]
        result["meta"]["regularMarketTime"] = form(result["meta"]["regularMarketTime"])

    rows = rows_of({"symbol": "KIND", "quote": {"price.regularMarketTime": None}}, of_chart(change))
    assert wrong(rows, {"2024 market_cap": CAP, "2025 market_cap": CAP, "ttm market_cap": CAP}) == {}


AT, NEWEST = 1_746_190_000, 1_794_840_000  # 2 May 2025, 16 November 2026


@pytest.mark.parametrize(
    ("events", "changes"),
    [
        pytest.param({str(AT): {"numerator": 4, "denominator": 1}}, BEFORE_SPLIT, id="no day but its name"),
        pytest.param(
            [{"date": NEWEST, "numerator": 1, "denominator": 500}, {"date": NEWEST, "numerator": 500, "denominator": 1}],
            {},
            id="1:500 and 500:1 on one day, to pay off small holders",
        ),
        pytest.param(
            [{"date": AT, "numerator": 4, "denominator": 1}, {"date": AT + 60, "splitRatio": "4:1"}],
            BEFORE_SPLIT,
            id="twice a day",
        ),
    ],
)
def test_splits_are_read_as_they_are_listed(events: Any, changes: dict[str, Any]) -> None:
    rows = rows_of({"symbol": "KIND", **changes}, of_chart(lambda result: result.update(events={"splits": events})))
    assert wrong(rows, {"2024 market_cap": CAP, "2025 market_cap": CAP, "ttm market_cap": CAP}) == {}
