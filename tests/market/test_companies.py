"""The made-up companies: deterministic, complete, and with statements that add up."""

from __future__ import annotations

import subprocess
import sys
from datetime import date

import pytest

from local.market.companies import BAND_HIGH, BAND_LOW, REGION_SHARES, SPECIALS, Company, Market, build_market
from local.market.payloads import currency_quote
from local.market.regions import MARKET_DAY, REGIONS, major, rate, units
from local.market.statements import Point
from tests.market.conftest import PROJECT

FIVE = list(REGION_SHARES)


@pytest.fixture(scope="module")
def market() -> Market:
    return build_market()


def values(points: list[Point]) -> dict[date, float]:
    return {point.day: point.value for point in points}


def test_the_same_seed_gives_the_same_market_in_another_process(market: Market) -> None:
    # Another process has another hash seed: an order taken from a set would show.
    code = (
        "from local.market.companies import build_market;"
        "print([(c.symbol, c.name, c.market_cap, c.price, sorted(c.traits), c.statements.latest('TotalRevenue'), c.prices.closes[0])"
        " for c in build_market().companies])"
    )
    other = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True, timeout=60)
    here = [
        (c.symbol, c.name, c.market_cap, c.price, sorted(c.traits), c.statements.latest("TotalRevenue"), c.prices.closes[0])
        for c in market.companies
    ]
    assert other.stdout.strip() == str(here)


def test_another_seed_gives_other_companies(market: Market) -> None:
    assert {c.symbol for c in build_market(seed=2).companies} != {c.symbol for c in market.companies}


@pytest.mark.parametrize("stocks", [1, 7, 30, 300, 3000])
def test_the_band_of_the_five_regions_has_exactly_the_requested_number_of_stocks(stocks: int) -> None:
    market = build_market(stocks)
    assert sum(len(market.in_dollars(region, BAND_LOW, BAND_HIGH)) for region in FIVE) == stocks
    assert len({c.symbol for c in market.companies}) == len(market.companies)


def test_the_band_in_dollars_includes_both_ends(market: Market) -> None:
    low, high = market.with_trait("at_lower_bound")[0], market.with_trait("at_upper_bound")[0]
    assert low in market.in_dollars(low.region, BAND_LOW, BAND_LOW + 1)
    assert high in market.in_dollars(high.region, BAND_HIGH - 1, BAND_HIGH)


def test_each_region_has_companies_on_both_sides_of_each_bound(market: Market) -> None:
    for region in (*FIVE, "se", "ch", "kr", "id", "kw", "ve"):
        sizes = [c.market_cap_usd for c in market.companies if c.region == region]
        for bound in (BAND_LOW, BAND_HIGH):
            assert any(0.999 * bound < size < bound for size in sizes), (region, bound)
            assert any(bound < size < 1.001 * bound for size in sizes), (region, bound)


def test_the_same_bounds_in_local_currency_give_another_list(market: Market) -> None:
    for region in ("jp", "gb", "fr", "de", "se", "kr", "id", "kw", "ve"):
        wrong, right = market.in_band(region, BAND_LOW, BAND_HIGH), market.in_dollars(region, BAND_LOW, BAND_HIGH)
        assert wrong, region
        assert set(wrong) - set(right), region
        assert set(right) - set(wrong), region


def test_london_has_dollar_listings_within_the_band_and_below_it(market: Market) -> None:
    within = set(market.in_dollars("gb", BAND_LOW, BAND_HIGH))
    found = {c.symbol: c in within for c in market.with_trait("dollar_listing")}
    assert {c.currency for c in market.with_trait("dollar_listing")} == {"USD"}
    assert sorted(found.values()) == [False, False, True, True]


def test_one_company_is_listed_in_three_countries(market: Market) -> None:
    listings = market.with_trait("listed_in_three")
    assert [c.region for c in listings] == ["kr", "id", "kw"]
    assert len({c.name for c in listings}) == 1
    assert [round(c.market_cap_usd, -3) for c in listings] == [900_000_000] * 3


def test_one_regions_currency_has_no_exchange_rate() -> None:
    assert currency_quote("VES=X") is None
    assert currency_quote("KRW=X") is not None


def test_every_awkward_case_exists_at_the_default_size(market: Market) -> None:
    for trait, region, count in SPECIALS:
        found = [c for c in market.with_trait(trait) if region in (None, c.region)]
        assert len(found) >= count, trait
    for trait in (
        "pence",
        "sparse_fifth_year",
        "stale_trailing",
        "no_trailing",
        "missing_point",
        "zero_debt",
        "zero_inventory",
        "minority",
    ):
        assert market.with_trait(trait), trait
    assert len({c.name for c in market.with_trait("same_name")}) == 1


def test_a_small_market_has_a_company_of_each_special_kind() -> None:
    market = build_market(60)
    missing = {trait for trait, _, _ in SPECIALS if not market.with_trait(trait)}
    assert not missing


def test_an_empty_region_is_still_known_to_the_page(market: Market) -> None:
    assert REGIONS["is"] == "Iceland"
    assert market.in_band("is", 0, 1e15) == []
    assert market.in_band("se", 0, 1e15)


def test_market_cap_is_price_times_shares(market: Market) -> None:
    for company in market.companies:
        assert company.price * company.shares / units(company.currency) == pytest.approx(company.market_cap, rel=1e-4)
    pence = market.with_trait("pence_market_cap")[0]
    assert pence.quoted_market_cap == 100 * pence.market_cap


def whole(company: Company) -> bool:
    return not company.traits & {"missing_statement", "missing_point", "no_statements", "gone", "currency_changed"}


def test_balance_sheets_balance(market: Market) -> None:
    for company in market.companies:
        if whole(company):
            for series in (company.statements.annual, company.statements.quarterly):
                minority = values(series.get("MinorityInterest", []))
                for assets, liabilities, equity in zip(
                    series["TotalAssets"], series["TotalLiabilitiesNetMinorityInterest"], series["StockholdersEquity"], strict=True
                ):
                    assert assets.value == liabilities.value + equity.value + minority.get(assets.day, 0), company
                    assert assets.value > 0


def test_income_and_cash_flow_lines_add_up(market: Market) -> None:
    for company in market.companies:
        if not whole(company):
            continue
        for series in (company.statements.annual, company.statements.quarterly, company.statements.trailing):
            lines = {key: values(points) for key, points in series.items()}
            for day, revenue in lines.get("TotalRevenue", {}).items():
                assert lines["FreeCashFlow"][day] == lines["OperatingCashFlow"][day] + lines["CapitalExpenditure"][day]
                assert lines["CapitalExpenditure"][day] <= 0
                if "GrossProfit" in lines:
                    assert lines["GrossProfit"][day] == revenue - lines["CostOfRevenue"][day]
                if "EBIT" in lines and "InterestExpense" in lines:
                    assert lines["EBIT"][day] == lines["PretaxIncome"][day] + lines["InterestExpense"][day]


def test_trailing_figures_are_sums_of_the_last_four_quarters(market: Market) -> None:
    tested = 0
    for company in market.companies:
        if whole(company) and not company.traits & {"no_trailing", "half_yearly"}:
            last = company.statements.trailing["NetIncome"][-1]
            quarters = [point for point in company.statements.quarterly["NetIncome"] if point.day <= last.day][-4:]
            assert last.value == sum(point.value for point in quarters)
            tested += 1
    assert tested > 200


def test_periods_have_the_shape_that_the_site_gives(market: Market) -> None:
    for company in market.companies:
        statements = company.statements
        if not whole(company):
            continue
        assert len(statements.annual["TotalRevenue"]) == (3 if "missing_year" in company.traits else 4)
        assert len(statements.quarterly["TotalRevenue"]) == 5
        assert len(statements.trailing.get("TotalRevenue", [1, 2])) == 2
        for series in (statements.annual, statements.quarterly, statements.trailing):
            for points in series.values():
                assert all(date.fromordinal(point.day.toordinal() + 1).day == 1 and point.day < MARKET_DAY for point in points)
    sparse = next(c for c in market.with_trait("sparse_fifth_year") if whole(c))
    oldest = min(point.day for points in sparse.statements.annual.values() for point in points)
    assert 2 <= sum(points[0].day == oldest for points in sparse.statements.annual.values()) <= 3
    half = market.with_trait("half_yearly")[0].statements.quarterly["TotalRevenue"]
    assert 175 < (half[-1].day - half[-2].day).days < 190


def test_banks_and_insurers_have_no_current_items_and_no_operating_profit(market: Market) -> None:
    for company in market.with_trait("bank") + market.with_trait("insurance"):
        annual = company.statements.annual
        absent = {"CurrentAssets", "CurrentLiabilities", "Inventory", "GrossProfit", "EBIT", "EBITDA", "OperatingIncome", "CostOfRevenue"}
        assert not absent & annual.keys()
        assert {"TotalRevenue", "NetIncome", "TotalAssets", "StockholdersEquity"} <= annual.keys()
        assert company.industry.startswith(("Banks", "Insurance -"))


def test_loss_makers_and_negative_equity_have_the_right_signs(market: Market) -> None:
    assert all(company.statements.latest("NetIncome") < 0 for company in market.with_trait("loss"))  # type: ignore[operator]
    assert all(company.statements.latest("CommonStockEquity") < 0 for company in market.with_trait("negative_equity"))  # type: ignore[operator]


def test_missing_statements_are_missing(market: Market) -> None:
    for company in market.with_trait("no_statements") + market.with_trait("gone"):
        assert not company.statements.annual
        assert not company.statements.trailing
    for company in market.with_trait("missing_statement"):
        present = {"TotalRevenue", "TotalAssets", "OperatingCashFlow"} & company.statements.annual.keys()
        assert len(present) == 2


def test_a_split_shows_in_share_counts_only_if_they_were_not_restated(market: Market) -> None:
    for trait, restated in (("split_restated", True), ("split_not_restated", False)):
        for company in market.with_trait(trait):
            ((day, factor),) = company.prices.splits.items()
            series = company.statements.annual["OrdinarySharesNumber"] + company.statements.quarterly["OrdinarySharesNumber"]
            before = [point.value for point in series if point.day < day]
            after = [point.value for point in series if point.day > day]
            assert before
            assert after
            jump = min(after) / max(before)
            assert (0.8 < jump < 1.2) if restated else (0.8 < jump / factor < 1.2)


def test_an_adr_represents_several_ordinary_shares(market: Market) -> None:
    for company in market.with_trait("adr"):
        ordinary = company.statements.quarterly["OrdinarySharesNumber"][-1].value
        assert company.market_cap / (company.price * ordinary) == pytest.approx(0.25, rel=0.01)
        assert company.financial_currency != company.currency


def test_the_statement_currency_differs_only_for_the_intended_companies(market: Market) -> None:
    for company in market.companies:
        assert (company.financial_currency != major(company.currency)) == ("foreign_statements" in company.traits)
    assert {c.financial_currency for c in market.with_trait("pence")} == {"GBP", "USD"}
    changed = market.with_trait("currency_changed")[0].statements.annual["TotalRevenue"]
    assert {point.currency for point in changed} == {"USD", "EUR"}


def test_prices_end_at_the_quoted_price_on_the_market_day(market: Market) -> None:
    for company in market.companies[:50]:
        assert company.prices.close_at(MARKET_DAY) == pytest.approx(company.price)
        assert company.prices.close_at(date(2023, 12, 31)) == company.prices.close_at(date(2023, 12, 29))
        assert min(company.prices.closes) > 0


def test_exchange_rates_are_consistent_and_move() -> None:
    day, other = date(2024, 3, 15), date(2025, 3, 14)
    assert rate("GBP", "USD", day) * rate("USD", "GBP", day) == pytest.approx(1)
    assert rate("GBP", "JPY", day) == pytest.approx(rate("GBP", "USD", day) * rate("USD", "JPY", day))
    assert rate("GBP", "USD", day) != rate("GBP", "USD", other)
