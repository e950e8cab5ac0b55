"""More of the same kinds as the cases beside this, a line each: what is wrong in the source, and what must be in the rows.

A figure is written "2024 market_cap" (a fiscal year) or "ttm market_cap". NULL may have any reason; a text is the reason; a number is the
value. The company behind all is `given/base.json`: 100 million shares at 20, 1,100 million of revenue in 2025, a tenth more than in 2024.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.ratios.rows import RatioRow
from tests.cases.direct import rows_of
from tests.cases.stand_in import BASE

NULL, ABSENT = None, "absent"
CAP = 2e9
YEARS = ("2022-12-31", "2023-12-31", "2024-12-31", "2025-12-31")
Expected = dict[str, Any]


def counts(*figures: float | None) -> dict[str, Any]:
    """Share counts of the fiscal years 2022 to 2025; None leaves the base's."""
    return {"annual.OrdinarySharesNumber": {day: figure for day, figure in zip(YEARS, figures, strict=True) if figure is not None}}


def in_one_year(year: int, times: float, *lines: str) -> dict[str, Any]:
    return {"times": {f"annual.{line}": {f"{year}-12-31": times} for line in lines}}


def closes(*levels: list[Any], **more: Any) -> dict[str, Any]:
    return {"chart": {"levels": [["2016-12-30", 20], *levels], **more}}


def split(*events: list[Any], **more: Any) -> dict[str, Any]:
    return {"chart": {"splits": list(events), **more}}


BALANCE, FLOWS = tuple(BASE["balance"]), tuple(BASE["flows"])
QUARTERS = {"2025-09-30": 275e6, "2025-12-31": 280e6, "2026-03-31": 285e6, "2026-06-30": 290e6, "2026-09-30": 295e6}

CASES: tuple[tuple[str, dict[str, Any], Expected], ...] = (
    # Share counts
    (
        "counts of two years in thousands",
        {"lines": counts(1e5, 1e5, None, None)},
        {
            "2023 market_cap": "missing:OrdinarySharesNumber",
            "2022 market_cap": NULL,
            "2024 share_count_change": NULL,
            "2024 market_cap": CAP,
        },
    ),
    (
        "the oldest count in thousands",
        {"lines": counts(1e5, None, None, None)},
        {"2022 market_cap": "missing:OrdinarySharesNumber", "2023 share_count_change": NULL, "2023 market_cap": CAP},
    ),
    (
        "every annual count in thousands",
        {"lines": counts(1e5, 1e5, 1e5, 1e5)},
        {"2025 market_cap": NULL, "2022 market_cap": NULL, "ttm market_cap": CAP, "2025 return_on_equity": 0.1833333333},
    ),
    (
        "one count a tenth",
        {"lines": counts(None, None, 1e7, None)},
        {"2024 market_cap": NULL, "2025 share_count_change": NULL, "2025 market_cap": CAP, "2023 market_cap": CAP},
    ),
    (
        "one count three times, no earnings per share",
        {"lines": {**counts(None, None, 3e8, None), "*.DilutedEPS": None}},
        {"2024 market_cap": NULL, "2024 share_count_change": NULL, "2023 market_cap": CAP, "2025 market_cap": CAP},
    ),
    (
        "a split that the site does not list",
        {"lines": counts(2.5e7, 2.5e7, 2.5e7, None)},
        {"2024 market_cap": NULL, "2025 share_count_change": NULL, "2025 market_cap": CAP},
    ),
    (
        "a real dilution: earnings per share fell as the count rose",
        {"lines": counts(2.5e7, 2.5e7, 2.5e7, None), "times": {"annual.DilutedEPS": dict.fromkeys(YEARS[:3], 4)}},
        {"2024 market_cap": CAP / 4, "2025 share_count_change": 3},
    ),
    (
        "shares bought back, three of four",
        {"lines": counts(4e8, 4e8, None, None), "times": {"annual.DilutedEPS": dict.fromkeys(YEARS[:2], 0.25)}},
        {"2023 market_cap": CAP * 4, "2024 share_count_change": -0.75},
    ),
    (
        "a zero and a negative count",
        {"lines": counts(None, 0, -1e8, None)},
        {"2024 market_cap": NULL, "2023 market_cap": NULL, "2025 market_cap": CAP},
    ),
    # Splits
    (
        "on the fiscal year's last day, count of before it",
        {**split(["2024-12-31", 2, 1]), "lines": counts(5e7, 5e7, 5e7, None)},
        {"2024 market_cap": CAP, "2023 market_cap": CAP, "2025 share_count_change": 0},
    ),
    (
        "on the fiscal year's last day, count of after it",
        {**split(["2024-12-31", 2, 1]), "lines": counts(5e7, 5e7, None, None)},
        {"2024 market_cap": CAP, "2023 market_cap": CAP, "2024 share_count_change": 0},
    ),
    (
        "upside down in the list",
        {**split(["2025-05-02", 1, 4]), "lines": counts(2.5e7, 2.5e7, 2.5e7, None)},
        {"2024 market_cap": NULL, "2025 market_cap": CAP},
    ),
    (
        "4:3, closes as they were",
        {"chart": {"levels": [["2016-12-30", 26.67], ["2025-05-02", 20]], "splits": [["2025-05-02", 4, 3]]}},
        {"2024 market_cap": "price_unit", "2025 market_cap": CAP},
    ),
    ("of next week", split(["today+6d", 10, 1]), {"ttm market_cap": CAP, "2025 market_cap": CAP}),
    ("by no number", split(["2025-05-02", 0, 1]), {"2024 market_cap": CAP}),
    (
        "counts of before it beside trailing figures of a fiscal year's last day",
        {
            **split(["2025-05-02", 4, 1]),
            "lines": counts(2.5e7, 2.5e7, 2.5e7, None),
            "quarterly": {"2025-12-31": [550e6, 6]},
            "trailing": {"2025-12-31": 1100e6},
        },
        {"ttm share_count_change": 0, "2025 share_count_change": 0},
    ),
    # Closes
    (
        "ten times as dear on the year's last day",
        closes(["2024-12-31", 200], ["2025-01-01", 20]),
        {"2024 market_cap": "price_unit", "2025 market_cap": CAP},
    ),
    ("a tenth for a day", closes(["2024-12-31", 2], ["2025-01-01", 20]), {"2024 market_cap": "price_unit", "2025 market_cap": CAP}),
    (
        "four times as dear for a month",
        closes(["2024-12-10", 80], ["2025-01-09", 20]),
        {"2024 market_cap": "price_unit", "2023 market_cap": CAP},
    ),
    (
        "a reverse split that nobody lists",
        {"chart": {"levels": [["2016-12-30", 2], ["2025-05-02", 20]]}},
        {"2024 market_cap": "price_unit", "2025 market_cap": CAP},
    ),
    (
        "in lev until the country took the euro",
        {"currency": "EUR", "chart": {"levels": [["2016-12-30", 20 * 1.95583], ["2026-01-02", 20]]}, "fx": {"EURUSD": {"price": 1.25}}},
        {"2025 market_cap": "price_unit", "2024 market_cap": "price_unit", "ttm market_cap": CAP * 1.25},
    ),
    ("three times as dear for good", {"chart": {"levels": [["2016-12-30", 6.5], ["2025-05-02", 20]]}}, {"2024 market_cap": 6.5e8}),
    ("zero and null on the last days", closes(["2024-12-30", None], ["2024-12-31", 0], ["2025-01-01", 20]), {"2024 market_cap": CAP}),
    ("the chart ends two years ago", {"chart": {"end": "2024-10-10"}}, {"ttm market_cap": CAP, "2025 market_cap": "no_price"}),
    (
        "4:1, twice in the older closes alone",
        {"chart": {"levels": [["2016-12-30", 5], ["2024-06-03", 20]], "splits": [["2026-02-10", 4, 1]]}},
        {"2023 market_cap": "price_unit", "2024 market_cap": CAP},
    ),
    (
        "4:1, undone three weeks late",
        {"chart": {"levels": [["2016-12-30", 80], ["2026-03-03", 20]], "splits": [["2026-02-10", 4, 1]]}},
        {"2025 market_cap": "price_unit"},
    ),
    (
        "2:1, not undone on the year's last day",
        closes(["2025-12-31", 40], ["2026-01-01", 20], splits=[["2026-02-10", 2, 1]]),
        {"2025 market_cap": "price_unit"},
    ),
    (
        "a real loss of 55 %, two years before a split",
        {"chart": {"levels": [["2016-12-30", 44], ["2024-06-03", 20]], "splits": [["2026-02-10", 2, 1]]}},
        {"2023 market_cap": CAP * 2.2, "2024 market_cap": CAP},
    ),
    # Price, unit and market cap
    (
        "a price in pounds, labelled pence",
        {
            "currency": "GBp",
            "financial_currency": "GBP",
            "market_cap": CAP,
            "chart": {"currency": "GBp", "price": 2000, "levels": [["2016-12-30", 2000]]},
        },
        {"ttm market_cap": CAP},
    ),
    (
        "shares outstanding of one listing, a hundredth, and nothing else to tell pounds from pence",
        {
            "currency": "GBp",
            "financial_currency": "GBP",
            "price": 500,
            "shares_outstanding": 1e6,
            "lines": {"*.OrdinarySharesNumber": None, "*.DilutedEPS": None},
        },
        {"ttm market_cap": "share_unit", "ttm net_margin": 0.105},
    ),
    (
        "price and market cap ten times those of the chart",
        {"price": 200, "chart": {"price": 20, "levels": [["2016-12-30", 20]]}},
        {"ttm market_cap": "price_unit", "2025 market_cap": "price_unit"},
    ),
    (
        "an ADR's price times the ordinary shares",
        {"times": {"*.DilutedEPS": 4}, "shares_outstanding": 2.5e7, "market_cap": CAP},
        {"ttm market_cap": "share_unit", "2025 market_cap": "share_unit"},
    ),
    ("market cap 0 everywhere", {"quote": {"*.marketCap": 0}}, {"ttm market_cap": NULL, "ttm net_margin": 0.105}),
    ("no currency but the chart's", {"quote": {"*.currency": None}}, {"ttm market_cap": CAP, "2025 market_cap": CAP}),
    (
        "texts for numbers",
        {"quote": {"price.regularMarketPrice": "20", "price.marketCap": True}},
        {"ttm market_cap": CAP, "2025 market_cap": CAP},
    ),
    # Rates
    ("upside down", {"currency": "JPY", "fx": {"JPYUSD": {"price": 150}}}, {"ttm market_cap": "fx_unavailable", "2025 market_cap": NULL}),
    (
        "upside down beside a right series",
        {"currency": "EUR", "fx": {"EURUSD": {"price": 0.8, "levels": [["2016-12-30", 1.25]]}}},
        {"ttm market_cap": "fx_unavailable", "2025 market_cap": CAP * 1.25},
    ),
    (
        "five times as high as that of the day before",
        {"currency": "SEK", "fx": {"SEKUSD": {"price": 0.5, "levels": [["2016-12-30", 0.1]]}}},
        {"ttm market_cap": "fx_unavailable", "2025 market_cap": CAP / 10},
    ),
    ("a filler of 1", {"currency": "KRW", "fx": {"KRWUSD": {"price": 1}}}, {"ttm market_cap": "fx_unavailable"}),
    (
        "one digit, the other way round with all of them",
        {"currency": "IDR", "fx": {"IDRUSD": {"price": 1e-4}, "USDIDR": {"price": 16500}}},
        {"ttm market_cap": CAP / 16500, "2025 market_cap": CAP / 16500},
    ),
    (
        "ten times too high for a week",
        {"currency": "SEK", "fx": {"SEKUSD": {"price": 0.1, "levels": [["2016-12-30", 0.1], ["2025-12-29", 1], ["2026-01-05", 0.1]]}}},
        {"2025 market_cap": CAP / 10, "2024 market_cap": CAP / 10, "ttm market_cap": CAP / 10},
    ),
    ("in pence", {"financial_currency": "GBP", "fx": {"USDGBP": {"price": 80, "currency": "GBp"}}}, {"ttm market_cap": CAP * 0.8}),
    (
        "the direct pair a hundred times off, across the dollar right",
        {
            "currency": "SEK",
            "financial_currency": "EUR",
            "fx": {"SEKEUR": {"price": 8}, "SEKUSD": {"price": 0.1}, "USDEUR": {"price": 0.8}},
        },
        {"ttm market_cap": CAP * 0.08, "2025 market_cap": CAP * 0.08},
    ),
    (
        "rounded to a thousandth, the other way round with all digits",
        {"currency": "KRW", "fx": {"KRWUSD": {"price": 1e-3}, "USDKRW": {"price": 1400}}},
        {"ttm market_cap": CAP / 1400, "2025 market_cap": CAP / 1400},
    ),
    (
        "rounded to a thousandth, across the dollar with all digits",
        {
            "currency": "KRW",
            "financial_currency": "GBP",
            "fx": {"KRWGBP": {"price": 6e-4}, "USDKRW": {"price": 1400}, "USDGBP": {"price": 0.75}},
        },
        {"ttm market_cap": CAP * 0.75 / 1400, "2025 market_cap": CAP * 0.75 / 1400},
    ),
    # Trailing figures
    ("those of a quarter", {"trailing": {"2025-09-30": 1080e6, "2026-09-30": [295e6, 12]}}, {"ttm price_to_sales": 2 / 1.15}),
    ("those of nine months", {"trailing": {"2025-09-30": 1080e6, "2026-09-30": [870e6, 12]}}, {"ttm price_to_sales": 2 / 1.15}),
    (
        "those of six months at the fiscal year's end",
        {"trailing": {"2025-12-31": [550e6, 12]}, "quarterly": {"2025-06-30": [540e6, 6], "2025-12-31": [550e6, 6]}},
        {"ttm price_to_sales": ABSENT},
    ),
    (
        "those of a year before cover a quarter",
        {"trailing": {"2025-12-31": [280e6, 12], "2026-09-30": 1150e6}},
        {"ttm price_to_sales": 2 / 1.15, "ttm revenue_growth": NULL},
    ),
    (
        "half years labelled as quarters, trailing right",
        {"quarterly": {day: [figure * 2, 6] for day, figure in QUARTERS.items()}},
        {"ttm price_to_sales": 2 / 1.15},
    ),
    (
        "those of a year before cover six months",
        {"trailing": {"2025-09-30": [540e6, 12], "2026-09-30": 1150e6}},
        {"ttm price_to_sales": 2 / 1.15, "ttm revenue_growth": NULL},
    ),
    (
        "those of a year before in thousands",
        {"times": {"trailing.*": {"2025-09-30": 0.001}}},
        {"ttm price_to_sales": 2 / 1.15, "ttm revenue_growth": "amount_unit", "ttm earnings_growth": "amount_unit"},
    ),
    (
        "right, but for the earnings in thousands",
        {"times": {f"trailing.{line}": {"2026-09-30": 0.001} for line in ("NetIncome", "NetIncomeCommonStockholders")}},
        {"ttm price_to_earnings": "missing:NetIncomeCommonStockholders", "ttm net_margin": NULL, "ttm price_to_sales": 2 / 1.15},
    ),
    (
        "right, but for the cash flows in thousands, without a balance sheet",
        {"times": {f"trailing.{line}": {"2026-09-30": 0.001} for line in FLOWS[-6:]}, "quarterly": {}},
        {"ttm free_cash_flow_margin": "missing:FreeCashFlow", "ttm dividend_yield": NULL, "ttm price_to_sales": 2 / 1.15},
    ),
    (
        "those of three days before the end of a fiscal year without revenue",
        {"trailing": {"2025-12-28": 1100e6}, "lines": {"annual.TotalRevenue": {"2025-12-31": None}}},
        {"ttm price_to_sales": 2 / 1.1, "2025 price_to_sales": "missing:TotalRevenue"},
    ),
    (
        "none, and one quarter holds six months",
        {"trailing": {}, "quarterly": {**QUARTERS, "2026-06-30": [575e6, 6]}},
        {"ttm price_to_sales": ABSENT},
    ),
    (
        "none, and the newest quarter holds nine months",
        {"trailing": {}, "quarterly": {**QUARTERS, "2026-09-30": [870e6, 9]}},
        {"ttm price_to_sales": 2 / 1.13},
    ),
    (
        "none, and the quarters' cash flows are those of the year so far",
        {
            "trailing": {},
            "times": {
                f"quarterly.{line}": dict(zip(QUARTERS, (3, 1100 / 280, 1, 2, 3), strict=True))
                for line in ("OperatingCashFlow", "FreeCashFlow", "CommonStockDividendPaid", "CashDividendsPaid")
            },
        },
        {"ttm price_to_sales": 2 / 1.15, "ttm price_to_free_cash_flow": NULL, "ttm dividend_yield": NULL, "ttm cash_conversion": NULL},
    ),
    (
        "none, and all of the year's dividend was paid in its last quarter",
        {
            "trailing": {},
            "lines": {
                "annual.CommonStockDividendPaid": {"2025-12-31": -33e6},
                "quarterly.CommonStockDividendPaid": {day: -33e6 if day == "2025-12-31" else 0 for day in QUARTERS},
            },
        },
        {"ttm dividend_yield": 0.0165},
    ),
    (
        "none, and the newest quarter is the best of every year",
        {
            "trailing": {},
            "quarterly": {**QUARTERS, "2025-09-30": 620e6, "2026-09-30": 650e6},
            "annual": {**BASE["annual"], "2025-12-31": 1400e6},
        },
        {"ttm price_to_sales": 2 / 1.505},
    ),
    (
        "right, and the newest quarter in thousands",
        {"times": {"quarterly.*": {"2026-09-30": 0.001}}},
        {"ttm price_to_sales": 2 / 1.15, "ttm return_on_equity": NULL},
    ),
    (
        "right, and the balance sheet of a year before in thousands",
        {"times": {"quarterly.*": {"2025-09-30": 0.001}}},
        {"ttm price_to_sales": 2 / 1.15, "ttm return_on_equity": "amount_unit", "ttm price_to_book": 2e9 / 708e6},
    ),
    (
        "those of a fiscal year's last day, whose quarterly balance sheets lack the equity",
        {
            "trailing": {"2025-12-31": 1100e6},
            "quarterly": {"2024-12-31": [520e6, 6], "2025-12-31": [550e6, 6]},
            "lines": {"quarterly.StockholdersEquity": None, "quarterly.CommonStockEquity": None},
        },
        {"ttm return_on_equity": 0.1833333333, "ttm price_to_book": 2 / 0.66},
    ),
    # Fiscal years
    (
        "nine months, the year's end moved",
        {
            "annual": {"2022-12-31": 800e6, "2023-12-31": 900e6, "2024-09-30": [750e6, 9], "2025-09-30": 1100e6},
            "quarterly": {},
            "trailing": {},
        },
        {"2025 revenue_growth": NULL, "2025 price_to_sales": 2 / 1.1, "2024 price_to_sales": "period_length"},
    ),
    ("one year under two dates", {"annual": {**BASE["annual"], "2025-12-13": 1090e6}}, {"2025 revenue_growth": 0.1, "rows": 5}),
    ("restated ten days off", {"annual": {**BASE["annual"], "2024-12-21": 990e6}}, {"2025 revenue_growth": 0.1, "rows": 5}),
    (
        "a line or two of another date",
        {"lines": {"annual.DilutedEPS": {"2025-06-30": 1}, "annual.OrdinarySharesNumber": {"2025-06-30": 1e8}}},
        {"2025 price_to_sales": 2 / 1.1, "2025 revenue_growth": 0.1, "rows": 5},
    ),
    # Amounts
    (
        "all in thousands but for earnings per share",
        {"times": {"*.*": 0.001}},
        {"2025 price_to_sales": "amount_unit", "ttm price_to_sales": "amount_unit", "2025 net_margin": 0.105},
    ),
    (
        "annual ones in thousands, trailing not",
        {"times": {"annual.*": 0.001}},
        {"2025 price_to_sales": "amount_unit", "ttm price_to_sales": 2 / 1.15, "2025 revenue_growth": 0.1},
    ),
    (
        "the newest balance sheet in thousands",
        in_one_year(2025, 0.001, *BALANCE),
        {
            "2025 price_to_book": "missing:CommonStockEquity",
            "2025 return_on_assets": NULL,
            "2025 price_to_sales": 2 / 1.1,
            "2024 price_to_book": 2 / 0.6,
        },
    ),
    (
        "one of two balance sheets in thousands, beside trailing figures that have none",
        {"annual": {"2024-12-31": 1000e6, "2025-12-31": 1100e6}, "quarterly": {}, **in_one_year(2025, 0.001, *BALANCE)},
        {"2025 price_to_book": NULL, "2024 price_to_book": NULL, "2025 return_on_assets": NULL, "2025 price_to_sales": 2 / 1.1},
    ),
    (
        "one cash-flow statement in thousands",
        in_one_year(2024, 0.001, *FLOWS[-6:]),
        {"2024 free_cash_flow_margin": NULL, "2024 dividend_yield": NULL, "2024 price_to_sales": 2},
    ),
    (
        "one revenue a thousand times too high",
        in_one_year(2024, 1000, "TotalRevenue"),
        {"2024 price_to_sales": "missing:TotalRevenue", "2025 revenue_growth": NULL, "2024 price_to_earnings": 2e9 / 105e6},
    ),
    (
        "one year labelled pence",
        {"currency": "GBP", "financial_currency": "GBP", "labels": {"annual.*": {"2024-12-31": "GBp"}}},
        {"2024 price_to_sales": "amount_unit", "2025 price_to_sales": 2 / 1.1},
    ),
    (
        "earnings per share of a year in pence",
        {"times": {"annual.DilutedEPS": {"2024-12-31": 100}}},
        {"2025 diluted_eps_growth": NULL, "2024 diluted_eps_growth": NULL, "2023 diluted_eps_growth": 0.125},
    ),
    ("one year in hundreds", in_one_year(2024, 0.01, "*"), {"2024 price_to_sales": "amount_unit", "2025 return_on_equity": "amount_unit"}),
    (
        "the newest year in hundreds, shown by earnings per share",
        {**in_one_year(2025, 0.01, "*"), "trailing": {}, "quarterly": {}},
        {"2025 price_to_sales": "amount_unit", "2025 revenue_growth": "amount_unit", "2024 price_to_sales": 2},
    ),
    (
        "twenty times the business for a year, earnings per share too",
        {"annual": {**BASE["annual"], "2023-12-31": 20e9}, "trailing": {}, "quarterly": {}},
        {"2023 price_to_sales": 0.1, "2024 revenue_growth": -0.95},
    ),
    (
        "a shell that becomes a company",
        {
            "annual": {"2022-12-31": 5e6, "2023-12-31": 6e6, "2024-12-31": 9e6, "2025-12-31": 1100e6},
            "lines": counts(1e7, 1e7, 1e7, None),
            "times": {"annual.DilutedEPS": dict.fromkeys(YEARS[:3], 10)},
        },
        {"2025 revenue_growth": 1100 / 9 - 1, "2024 price_to_sales": 200 / 9},
    ),
    (
        "an equity in thousands beside assets and liabilities",
        in_one_year(2024, 0.001, "StockholdersEquity", "CommonStockEquity"),
        {"2024 price_to_book": NULL, "2025 return_on_equity": NULL, "2025 price_to_book": 2 / 0.66, "2024 price_to_sales": 2},
    ),
    (
        "earnings in thousands beside what is left after tax",
        in_one_year(2024, 0.001, "NetIncome", "NetIncomeCommonStockholders"),
        {"2024 price_to_earnings": NULL, "2025 earnings_growth": NULL, "2025 price_to_earnings": 2e9 / 115.5e6},
    ),
    (
        "a debt in thousands beside the part of it that is due later",
        in_one_year(2024, 0.001, "TotalDebt"),
        {"2024 debt_to_equity": "missing:TotalDebt", "2024 enterprise_value": NULL, "2024 price_to_book": 2 / 0.6},
    ),
    (
        "current assets a thousand times too high, more than all assets",
        in_one_year(2024, 1000, "CurrentAssets"),
        {"2024 current_ratio": "missing:CurrentAssets", "2024 cash_ratio": 0.6, "2025 current_ratio": 2},
    ),
    (
        "assets of a year 0",
        {"lines": {"annual.TotalAssets": {"2024-12-31": 0}}},
        {"2025 return_on_assets": "non_positive:TotalAssets", "2025 asset_turnover": NULL, "2025 return_on_equity": 0.1833333333},
    ),
    (
        "one revenue labelled with another currency",
        {"labels": {"annual.TotalRevenue": {"2025-12-31": "EUR"}, "trailing.TotalRevenue": "EUR"}},
        {"2025 price_to_sales": "missing:TotalRevenue", "2025 price_to_book": 2 / 0.66, "ttm price_to_earnings": 2e9 / 120.75e6},
    ),
    (
        "one year's labels in small letters",
        {"labels": {"annual.*": {"2024-12-31": "usd "}}},
        {"2025 revenue_growth": 0.1, "2024 price_to_sales": 2},
    ),
    (
        "earnings per share in fils, labelled so",
        {
            "currency": "KWF",
            "financial_currency": "KWD",
            "price": 512,
            "labels": {"*.DilutedEPS": "KWF"},
            "times": {"*.DilutedEPS": 1000},
        },
        {"2025 price_to_sales": 51.2 / 1100, "ttm price_to_sales": 51.2 / 1150},
    ),
    (
        "earnings per share in pesos, labelled so, beside dollars",
        {
            "currency": "CLP",
            "financial_currency": "USD",
            "price": 19000,
            "fx": {"CLPUSD": {"price": 1 / 950}, "USDCLP": {"price": 950}},
            "labels": {"*.DilutedEPS": "CLP"},
            "times": {"*.DilutedEPS": 950},
        },
        {"2025 price_to_sales": 2 / 1.1, "ttm price_to_sales": 2 / 1.15},
    ),
    (
        "costs negative, no gross profit",
        {"times": {"*.CostOfRevenue": -1}, "lines": {"*.GrossProfit": None}},
        {"2025 gross_margin": "unexpected_sign", "2025 net_margin": 0.105},
    ),
    (
        "capital expenditure positive and added to the cash flow",
        {"times": {"*.CapitalExpenditure": -1, "*.FreeCashFlow": 0.21 / 0.11}},
        {"2025 free_cash_flow_margin": "unexpected_sign", "ttm price_to_free_cash_flow": NULL, "2025 net_margin": 0.105},
    ),
    (
        "capital expenditure positive beside a right free cash flow",
        {"times": {"*.CapitalExpenditure": -1}},
        {"2025 free_cash_flow_margin": 0.11, "ttm free_cash_flow_margin": 0.11},
    ),
    (
        "a trailing dividend of 0 after four quarters that paid",
        {"lines": {"trailing.CommonStockDividendPaid": 0, "trailing.CashDividendsPaid": 0}},
        {"ttm dividend_yield": "missing:CommonStockDividendPaid", "2025 dividend_yield": 0.0165},
    ),
    (
        "a trailing dividend of 0 after the last one was paid a year ago",
        {
            "lines": {
                f"{table}.{line}": {day: -8e6 if day == "2025-09-30" and table == "quarterly" else 0 for day in days}
                for line in ("CommonStockDividendPaid", "CashDividendsPaid")
                for table, days in (("trailing", ["2026-09-30"]), ("quarterly", [*QUARTERS]))
            }
        },
        {"ttm dividend_yield": 0},
    ),
    (
        "a dividend on preferred stock alone",
        {"lines": {"*.CommonStockDividendPaid": None, "annual.PreferredStockDividendPaid": {"2025-12-31": -33e6}}},
        {"2025 dividend_yield": 0},
    ),
    (
        "nothing about dividends, no cash-flow statement",
        {"lines": {f"*.{line}": None for line in FLOWS[-6:]}},
        {"2025 dividend_yield": "missing:CommonStockDividendPaid"},
    ),
)


def figure(rows: list[RatioRow], name: str) -> Any:
    """A value, the reason of NULL, or "absent"."""
    if name == "rows":
        return len(rows)
    when, ratio = name.split()
    row = next((one for one in rows if one.period_type == "ttm" if when == "ttm"), None)
    if when != "ttm":
        row = next((one for one in rows if one.period_type == "annual" and str(one.period_end.year) == when), None)
    if row is None:
        return ABSENT
    value = row.values[ratio]
    return row.null_reasons[ratio] if value is None else value


def holds(wanted: Any, found: Any) -> bool:
    if wanted is NULL:
        return isinstance(found, str)
    if isinstance(wanted, str) or isinstance(found, str):
        return bool(wanted == found)
    return math.isclose(wanted, found, rel_tol=1e-6, abs_tol=1e-9)


def wrong(rows: list[RatioRow], expected: Expected) -> dict[str, Any]:
    return {name: found for name, wanted in expected.items() if not holds(wanted, found := figure(rows, name))}


@pytest.mark.parametrize(("changes", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_no_number_is_wrong_and_no_right_number_is_lost(changes: dict[str, Any], expected: Expected) -> None:
    assert wrong(rows_of({"symbol": "KIND", **changes}), expected) == {}


# Answers that are bent


def of_chart(change: Callable[[dict[str, Any]], Any]) -> Callable[[str, Any], None]:
    def mangled(kind: str, body: Any) -> None:
        if kind == "chart":
            change(body["chart"]["result"][0])

    return mangled


def with_split(event: dict[str, Any], listed: bool = False) -> Callable[[str, Any], None]:
    return of_chart(lambda result: result.update(events={"splits": [event] if listed else {"1": event}}))


def every_close(change: Callable[[Any], Any]) -> Callable[[str, Any], None]:
    def change_all(result: dict[str, Any]) -> None:
        result["indicators"]["quote"][0]["close"] = [change(close) for close in result["indicators"]["quote"][0]["close"]]

    return of_chart(change_all)


AT = 1_746_190_000  # 2 May 2025
BEFORE_SPLIT = {"lines": counts(2.5e7, 2.5e7, 2.5e7, None), "times": {"annual.DilutedEPS": dict.fromkeys(YEARS[:3], 4)}}


@pytest.mark.parametrize(
    ("mangled", "changes", "expected"),
    [
        (with_split({"date": AT, "numerator": "4", "denominator": "1"}), BEFORE_SPLIT, {"2024 market_cap": CAP}),
        (with_split({"date": AT, "splitRatio": "4:1"}), BEFORE_SPLIT, {"2024 market_cap": CAP}),
        (with_split({"date": AT * 1000, "numerator": 4, "denominator": 1}), BEFORE_SPLIT, {"2024 market_cap": CAP}),
        (with_split({"date": str(AT), "numerator": 4, "denominator": {}, "splitRatio": "4:1"}), BEFORE_SPLIT, {"2024 market_cap": CAP}),
        (with_split({"date": AT, "numerator": 4, "denominator": 1}, listed=True), BEFORE_SPLIT, {"2024 market_cap": CAP}),
        (with_split({"date": AT, "numerator": 4, "denominator": 0, "splitRatio": "4"}), {}, {"2024 market_cap": CAP}),
        (every_close(str), {}, {"2024 market_cap": "no_price", "ttm market_cap": CAP}),
        (every_close(int), {}, {"2024 market_cap": CAP}),
        (of_chart(lambda result: result.pop("meta")), {}, {"2024 market_cap": CAP, "ttm market_cap": CAP}),
        (of_chart(lambda result: result.update(indicators={})), {}, {"2024 market_cap": "no_price", "ttm market_cap": CAP}),
    ],
)
def test_a_distorted_chart_makes_no_value_wrong(mangled: Callable[[str, Any], None], changes: dict[str, Any], expected: Expected) -> None:
    assert wrong(rows_of({"symbol": "BENT", **changes}, mangled), expected) == {}
