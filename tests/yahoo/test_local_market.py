"""Every company of the local market: fetched at once, the short way and yfinance's own, and what its awkward ones give."""

import json
import math
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pytest
import yfinance

from local.market.companies import Company, Market
from local.market.regions import MARKET_DAY, major, units
from pipeline.errors import NoData
from pipeline.ratios.formulas import RATIOS
from pipeline.ratios.fundamentals import BALANCE_KEYS, CASH_FLOW_KEYS, INCOME_KEYS, Fundamentals, Points
from pipeline.ratios.rows import RatioRow, ratio_rows
from pipeline.yahoo import fetch, session
from pipeline.yahoo.assemble import SITE_RATIOS

NOTHING = {"gone", "no_statements"}


def fetched(company: Company) -> Fundamentals | str:
    try:
        return fetch.fetch(company.symbol)
    except NoData as none:
        return none.reason


@pytest.fixture(scope="module")
def everything(market_url: str, market: Market, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Fundamentals | str]:
    """Symbol → what was fetched, or the reason of nothing; by 32 threads."""
    session.setup(market_url, tmp_path_factory.mktemp("cache"), today=lambda: MARKET_DAY)
    fetch.exchange_rates.clear()
    with ThreadPoolExecutor(32) as pool:
        return dict(zip((one.symbol for one in market.companies), pool.map(fetched, market.companies), strict=True))


def test_every_company_gives_sound_rows_or_its_reason(everything: dict[str, Fundamentals | str], market: Market) -> None:
    for company in market.companies:
        found = everything[company.symbol]
        if isinstance(found, str):
            assert found in company.traits or (found == "no_statements" and "missing_statement" in company.traits)
            continue
        assert not company.traits & NOTHING
        assert (found.symbol, found.name, found.industry) == (company.symbol, company.name, company.industry)
        assert (found.currency, found.financial_currency) == (company.currency, company.financial_currency)
        rows = ratio_rows(found)
        assert rows
        for row in rows:
            assert set(row.null_reasons) == {name for name in RATIOS if row.values[name] is None}
            assert all(math.isfinite(value) for value in row.values.values() if value is not None)
            json.dumps(row.inputs, allow_nan=False)


def test_threads_never_get_each_others_answers(everything: dict[str, Fundamentals | str], market: Market) -> None:
    for company in market.companies:
        found = everything[company.symbol]
        if isinstance(found, Fundamentals):
            assert found.price == company.price
            assert points_of(found.statements.annual) == served(company.statements.annual)
            assert points_of(found.statements.quarterly) == served(company.statements.quarterly)
            assert points_of(found.statements.trailing) == served(company.statements.trailing)


def points_of(points: Points) -> dict[str, dict[date, tuple[float, str]]]:
    return {key: {day: (point.value, point.currency) for day, point in by_day.items()} for key, by_day in points.items()}


def served(series: Any) -> dict[str, dict[date, tuple[float, str]]]:
    keys = {*INCOME_KEYS, *BALANCE_KEYS, *CASH_FLOW_KEYS}
    return {key: {point.day: (point.value, point.currency) for point in points} for key, points in series.items() if key in keys and points}


def test_a_stock_takes_three_requests_and_a_pair_of_currencies_one(local_market: str, everything: dict[str, Fundamentals | str]) -> None:
    foreign = [symbol for symbol, found in everything.items() if isinstance(found, Fundamentals) and found.rates]
    rates = {pair: one for found in everything.values() if isinstance(found, Fundamentals) for pair, one in found.rates.items()}
    # That the market has no such rate is believed after the second answer, either way round.
    pairs = [pair for pair, one in rates.items() for _ in range(1 if one.by_day else 4)]
    before = counts(local_market)
    for symbol in foreign * 2:
        fetch.fetch(symbol)
    after = counts(local_market)
    stocks = 2 * len(foreign)
    expected = {"quoteSummary": stocks, "timeseries": stocks, "chart": stocks + len(pairs)}
    assert {name: after[name] - before[name] for name in expected} == expected
    assert pairs


def counts(url: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{url}/market/counts", timeout=60) as answer:
        return dict(json.load(answer)["requests"])


# Against yfinance's public calls


def cells(table: Any, keys: tuple[str, ...]) -> dict[tuple[str, date], float]:
    return {
        (key, day.date()): float(value)
        for key in keys
        if key in table.index
        for day, value in table.loc[key].items()
        if not math.isnan(float(value))
    }


def expected_cells(points: Points, keys: tuple[str, ...], newest_only: bool = False) -> dict[tuple[str, date], float]:
    days = [day for key in keys for day in points.get(key, ())]
    found = {(key, day): point.value for key in keys for day, point in points.get(key, {}).items()}
    return {cell: value for cell, value in found.items() if cell[1] == max(days)} if newest_only and days else found


def test_every_statement_figure_equals_that_of_yfinances_public_calls(local_market: str, everything: dict[str, Fundamentals | str]) -> None:
    compared = 0
    for symbol, found in everything.items():
        if not isinstance(found, Fundamentals):
            continue
        ticker = yfinance.Ticker(symbol)
        for get, keys in (
            (ticker.get_income_stmt, INCOME_KEYS),
            (ticker.get_balance_sheet, BALANCE_KEYS),
            (ticker.get_cash_flow, CASH_FLOW_KEYS),
        ):
            for freq, points in (("yearly", found.statements.annual), ("quarterly", found.statements.quarterly)):
                expected = expected_cells(points, keys)
                assert cells(get(freq=freq), keys) == expected, (symbol, freq)
                compared += len(expected)
    assert compared > 10_000


def test_every_trailing_and_quoted_figure_equals_that_of_yfinances_public_calls(
    local_market: str, everything: dict[str, Fundamentals | str]
) -> None:
    for symbol, found in everything.items():
        if not isinstance(found, Fundamentals):
            continue
        ticker = yfinance.Ticker(symbol)
        if found.statements.trailing:
            for get, keys in ((ticker.get_income_stmt, INCOME_KEYS), (ticker.get_cash_flow, CASH_FLOW_KEYS)):
                # A stock whose statement is missing has no trailing table of it: yfinance stumbles over that.
                expected = expected_cells(found.statements.trailing, keys, newest_only=True)
                if expected:
                    assert cells(get(freq="trailing"), keys) == expected, symbol
        info = ticker.info
        assert (found.name, found.exchange, found.sector, found.industry) == (
            info["longName"],
            info["exchange"],
            info["sector"],
            info["industry"],
        )
        assert (found.currency, found.financial_currency) == (info["currency"], info["financialCurrency"])
        assert (found.price, found.market_cap, found.shares_outstanding) == (
            info["regularMarketPrice"],
            info["marketCap"],
            info["sharesOutstanding"],
        )
        assert found.site_ratios == {name: float(info[name]) for name in SITE_RATIOS if name in info}


def some_of(market: Market) -> list[Company]:
    """One company of each trait that has statements."""
    traits = sorted({trait for company in market.companies for trait in company.traits} - NOTHING - {"missing_statement"})
    return list(
        {company.symbol: company for trait in traits for company in market.with_trait(trait)[:1] if not company.traits & NOTHING}.values()
    )


# yfinance 1.7.0 calls pandas 3.1 in a way that the next one won't have.
@pytest.mark.filterwarnings("ignore:The inplace keyword")
def test_the_public_source_gives_the_same_rows(local_market: str, market: Market) -> None:
    for company in some_of(market):
        if "currency_changed" in company.traits:
            continue  # yfinance's tables don't say in which currency a figure is
        short, public = (ratio_rows(fetch.fetch(company.symbol, source)) for source in ("timeseries", "public"))
        assert [comparable(row) for row in public] == [comparable(row) for row in short], company.symbol


def comparable(row: RatioRow) -> Any:
    # A growth of ttm needs the trailing point before the newest, which yfinance's table leaves out.
    left_out = {name for name in RATIOS if row.period_type == "ttm" and (name.endswith("_growth") or name.startswith("piotroski"))}
    return row.period_type, row.period_end, row.currency, {name: value for name, value in row.values.items() if name not in left_out}


@pytest.mark.parametrize("trait", ["gone", "no_statements"])
def test_the_public_source_reports_missing_data_the_same_way(local_market: str, market: Market, trait: str) -> None:
    for company in market.with_trait(trait):
        with pytest.raises(NoData) as none:
            fetch.fetch(company.symbol, "public")
        assert none.value.reason == trait


def test_the_public_source_never_puts_a_strange_symbol_into_a_url(local_market: str) -> None:
    before = counts(local_market)
    for symbol in ("../../x", "A'; DROP TABLE stock;--", "A/B", "..", ""):
        with pytest.raises(Exception, match="no symbol"):
            fetch.fetch(symbol, "public")
    assert counts(local_market) == before


# The awkward ones


def rows_with(trait: str, market: Market) -> list[tuple[Company, list[RatioRow]]]:
    found = [(company, ratio_rows(fetch.fetch(company.symbol))) for company in market.with_trait(trait) if not company.traits & NOTHING]
    assert found, f"no company with trait {trait}"
    return found


def annual(rows: list[RatioRow]) -> list[RatioRow]:
    return [row for row in rows if row.period_type == "annual"]


def test_todays_market_value_is_right_in_the_statements_currency(everything: dict[str, Fundamentals | str], market: Market) -> None:
    for company in market.companies:
        found = everything[company.symbol]
        if isinstance(found, Fundamentals):
            for row in ratio_rows(found):
                if row.period_type == "ttm" and row.currency == company.financial_currency:
                    # Rates of the chart have six digits.
                    assert row.values["market_cap"] == pytest.approx(company.statement_market_cap, rel=1e-3), company.symbol


def test_past_market_value_is_the_days_close_times_the_split_adjusted_shares(
    everything: dict[str, Fundamentals | str], market: Market
) -> None:
    checked = 0
    for company in market.companies:
        found = everything[company.symbol]
        if not isinstance(found, Fundamentals) or company.traits & {"adr", "currency_changed"}:
            continue
        if major(company.currency) != company.financial_currency:
            continue
        factor = next(iter(company.prices.splits.values()), 1) if "split_not_restated" in company.traits else 1
        for row in annual(ratio_rows(found)):
            close = company.prices.close_at(row.period_end)
            shares = found.statements.annual.get("OrdinarySharesNumber", {}).get(row.period_end)
            if close is None or shares is None:
                continue
            split_day = next(iter(company.prices.splits), date.min)
            expected = close / units(company.currency) * shares.value * (factor if row.period_end < split_day else 1)
            assert row.values["market_cap"] == pytest.approx(expected, rel=1e-9), (company.symbol, row.period_end)
            checked += 1
    assert checked > 100


def test_an_adr_has_a_market_value_only_for_today(local_market: str, market: Market) -> None:
    for _, rows in rows_with("adr", market):
        assert all(row.null_reasons["market_cap"] == "share_unit" for row in annual(rows))
        assert rows[-1].values["price_to_book"] is not None


def test_a_bank_has_no_multiples_of_enterprise_value(local_market: str, market: Market) -> None:
    for _, rows in rows_with("bank", market) + rows_with("insurance", market):
        assert all(row.null_reasons["ev_to_sales"] == row.null_reasons["current_ratio"] == "not_applicable" for row in rows)
        assert any(row.values["return_on_equity"] is not None for row in rows)


def test_a_split_leaves_no_jump_in_the_share_count(local_market: str, market: Market) -> None:
    for trait in ("split_restated", "split_not_restated"):
        for company, rows in rows_with(trait, market):
            changes = [row.values["share_count_change"] for row in rows]
            assert all(abs(change) < 0.3 for change in changes if change is not None), company.symbol


def test_a_half_yearly_reporter_has_a_trailing_year(local_market: str, market: Market) -> None:
    for company, rows in rows_with("half_yearly", market):
        if "no_trailing" not in company.traits:
            assert rows[-1].period_type == "ttm"
        else:
            assert all(row.period_type == "annual" for row in rows)


def test_negative_equity_has_no_price_to_book(local_market: str, market: Market) -> None:
    for _, rows in rows_with("negative_equity", market):
        assert any(row.null_reasons.get("price_to_book") == "non_positive:equity" for row in rows)


def test_a_missing_year_is_not_bridged(local_market: str, market: Market) -> None:
    for _, rows in rows_with("missing_year", market):
        reasons = [row.null_reasons.get("revenue_growth") for row in annual(rows)]
        assert reasons.count("no_prior_period") == 2  # after the gap, and the oldest
