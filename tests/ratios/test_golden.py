"""Figures of real annual reports, worked out by hand: tests/ratios/golden_companies.json (its ratios that we don't have are skipped)."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.ratios.formulas import RATIOS
from pipeline.ratios.fundamentals import Fundamentals, Statements
from tests.ratios.companies import points, row

COMPANIES = json.loads((Path(__file__).parent / "golden_companies.json").read_text())


def computed(golden: dict[str, Any]) -> Any:
    end = date.fromisoformat(golden["period_end"])
    price = golden["price_inputs"]
    years = {end.replace(year=end.year - 1): golden["prior"], end: golden["current"]}
    company = Fundamentals(
        symbol="GOLDEN",
        as_of=end + timedelta(days=60),
        shares_outstanding=golden["current"].get("OrdinarySharesNumber"),
        industry=golden["industry"],
        currency="USD",
        statements=Statements(annual=points(years, golden["currency"])),
        closes={date.fromisoformat(price["close_date"]): price["close"]} if price else {},
    )
    return row(company, end)


@pytest.mark.parametrize("golden", COMPANIES, ids=lambda golden: f"{golden['company']} {golden['fiscal_year']}")
def test_every_ratio_equals_the_golden_value(golden: dict[str, Any]) -> None:
    found = computed(golden)
    expected = {name: value for name, value in golden["expected"].items() if name in RATIOS}
    assert {name: found.values[name] and round(found.values[name], 4) for name in expected} == expected
    reasons = {name: reason for name, reason in golden["null_reasons"].items() if name in RATIOS}
    assert {name: found.null_reasons.get(name) for name in reasons} == reasons


def test_the_golden_file_covers_nearly_every_ratio() -> None:
    missing = set(RATIOS) - {name for golden in COMPANIES for name in golden["expected"]}
    # What the file doesn't have, tests/ratios/test_formulas.py has.
    assert missing == {
        "market_cap_usd",
        "price_to_tangible_book",
        "shareholder_yield",
        "gross_profit_to_assets",
        "cash_conversion",
        "equity_to_assets",
        "diluted_eps_growth",
        "revenue_cagr_3y",
        "share_count_change",
    }
