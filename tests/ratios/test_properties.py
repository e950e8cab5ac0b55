"""What holds for every company, whatever its figures."""

import json
import math
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.ratios.formulas import RATIOS
from pipeline.ratios.fundamentals import BALANCE_KEYS, FLOW_KEYS, KEYS, Fundamentals, Point, Rates, Statements
from pipeline.ratios.rows import RatioRow, ratio_rows
from pipeline.yahoo.answers import parse_chart, parse_timeseries
from tests.ratios.companies import BEFORE, EARLIER, LINES, NOW, QUARTER, QUARTER_BEFORE, TODAY, annual, plain, points, row

CHECKS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

#: Figures that companies report, with zero, losses and gaps among them.
AMOUNTS = st.one_of(st.none(), st.just(0.0), st.integers(-(10**6), 10**6).map(float))
ANY_FLOAT = st.floats(allow_nan=False, allow_infinity=False)
DOLLARS = st.just("USD")
YEARS = [date(year, 12, 31) for year in range(2019, 2024)]


@st.composite
def companies(draw: Any, amounts: Any = AMOUNTS, currencies: Any = DOLLARS) -> Fundamentals:
    def series(keys: tuple[str, ...], days: list[date]) -> dict[str, dict[date, Point]]:
        found: dict[str, dict[date, Point]] = {}
        for day in days:
            code = draw(currencies)
            values = draw(st.lists(amounts, min_size=len(keys), max_size=len(keys)))
            for key, value in zip(keys, values, strict=True):
                if value is not None:
                    found.setdefault(key, {})[day] = Point(value, code)
        return found

    return Fundamentals(
        symbol="ANY",
        as_of=TODAY,
        industry=draw(st.sampled_from(["Trucking", "Banks - Regional", None])),
        currency=draw(st.sampled_from(["USD", "GBp"])),
        financial_currency="USD",
        price=draw(amounts),
        market_cap=draw(amounts),
        shares_outstanding=draw(amounts),
        quoted_on=date(2024, 5, 15),
        statements=Statements(
            annual=series(FLOW_KEYS + BALANCE_KEYS, YEARS),
            quarterly=series(FLOW_KEYS + BALANCE_KEYS, [QUARTER_BEFORE, QUARTER]),
            trailing=series(FLOW_KEYS, [QUARTER_BEFORE, QUARTER]),
        ),
        closes={day: value for day in YEARS if (value := draw(amounts)) is not None and value > 0},
        splits=draw(st.sampled_from([{}, {date(2022, 6, 1): 2.0}, {date(2022, 6, 1): 1e300}])),
        rates={"GBPUSD": Rates(draw(amounts), dict.fromkeys(YEARS, 1.3), TODAY)},
    )


def assert_sound(one: RatioRow) -> None:
    assert tuple(one.values) == RATIOS
    assert set(one.null_reasons) == {name for name, value in one.values.items() if value is None}
    assert all(math.isfinite(value) for value in one.values.values() if value is not None)
    assert all(isinstance(value, float | int) for value in one.values.values() if value is not None)
    assert one.values["piotroski_tested"] is not None
    assert json.loads(json.dumps(one.inputs, allow_nan=False)) == one.inputs


@CHECKS
@given(companies())
def test_every_row_has_a_finite_value_or_one_reason_for_each_ratio(company: Fundamentals) -> None:
    for one in ratio_rows(company):
        assert_sound(one)


@CHECKS
@given(companies(amounts=st.one_of(st.none(), ANY_FLOAT), currencies=st.sampled_from(["USD", "EUR", ""])))
def test_figures_of_any_size_never_make_infinity_or_nan(company: Fundamentals) -> None:
    for one in ratio_rows(company):
        assert_sound(one)


@pytest.mark.parametrize(
    "figures",
    [
        {"OrdinarySharesNumber": {QUARTER: 1e-170}, "NetIncome": {QUARTER: -2.5e157}, "DilutedEPS": {QUARTER: -1.0}},
        {"OrdinarySharesNumber": {QUARTER_BEFORE: 1e16, QUARTER: 1e-309}},
    ],
)
def test_figures_whose_quotient_overflows_a_double_raise_no_error(figures: dict[str, dict[date, float]]) -> None:
    points = {key: {day: Point(value, "USD") for day, value in by_day.items()} for key, by_day in figures.items()}
    for one in ratio_rows(Fundamentals(symbol="ANY", as_of=TODAY, currency="USD", statements=Statements({}, points, points))):
        assert_sound(one)


def same(one: float | None, other: float | None) -> bool:
    return one is other is None or (one is not None and other is not None and math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-300))


def scaled(company: Fundamentals, factor: float) -> Fundamentals:
    """The same company in units of another size: all amounts, prices and earnings a share, but not shares and rates."""
    unscaled = {"OrdinarySharesNumber", "TaxRateForCalcs"}

    def series(by_key: Any) -> Any:
        return {
            key: by_day if key in unscaled else {day: Point(point.value * factor, point.currency) for day, point in by_day.items()}
            for key, by_day in by_key.items()
        }

    statements = company.statements
    return replace(
        company,
        price=None if company.price is None else company.price * factor,
        market_cap=None if company.market_cap is None else company.market_cap * factor,
        closes={day: close * factor for day, close in company.closes.items()},
        statements=Statements(series(statements.annual), series(statements.quarterly), series(statements.trailing)),
    )


# Larger alone: earnings per share of less than two hundredths are too rounded to tell a number of shares.
@CHECKS
@given(companies(), st.sampled_from([2.0**10, 2.0**20]))
def test_scaling_all_figures_changes_no_ratio(company: Fundamentals, factor: float) -> None:
    for one, other in zip(ratio_rows(company), ratio_rows(scaled(company, factor)), strict=True):
        assert other.null_reasons == one.null_reasons
        for name, value in one.values.items():
            expected = value * factor if value is not None and name in ("market_cap", "market_cap_usd", "enterprise_value") else value
            assert same(other.values[name], expected), name


@CHECKS
@given(st.floats(0.1, 10), st.floats(0.1, 10))
def test_reporting_in_another_currency_changes_no_price_ratio(rate_now: float, rate_then: float) -> None:
    def reported(code: str, now: float, then: float) -> Fundamentals:
        unscaled = {"OrdinarySharesNumber", "TaxRateForCalcs"}
        years = {
            day: {key: value if key in unscaled else value * rate for key, value in lines.items()}
            for day, lines, rate in ((NOW, LINES, now), (BEFORE, EARLIER, then))
        }
        rates = {"USDEUR": Rates(now, {date(2023, 12, 29): now, date(2022, 12, 30): then}, TODAY)}
        return plain(statements=Statements(annual=points(years, code)), rates=rates, financial_currency=code)

    for end in (NOW, BEFORE):
        dollars = row(reported("USD", 1.0, 1.0), end).values
        euros = row(reported("EUR", rate_now, rate_then), end).values
        for name in (*(name for name in RATIOS if name.startswith(("price_", "ev_")) or name.endswith("_yield")), "altman_z"):
            assert same(euros[name], dollars[name]), name


@pytest.mark.parametrize("key", sorted(KEYS))
def test_zero_is_a_valid_value_of_every_key(key: str) -> None:
    years = annual({**LINES, key: 0.0}, {**EARLIER, key: 0.0})
    assert f"missing:{key}" not in row(plain(statements=years)).null_reasons.values()


@pytest.mark.parametrize("key", sorted(KEYS))
def test_a_missing_key_is_named_or_replaced_and_makes_no_ratio_wrong(key: str) -> None:
    if key == "TotalAssets":
        return  # without it there is no fiscal year
    lacking = {name: by_day for name, by_day in plain().statements.annual.items() if name != key}
    whole = row(plain())
    rows = [one for one in ratio_rows(plain(statements=Statements(annual=lacking))) if one.period_end == NOW]
    for one in rows:
        for name in one.null_reasons.keys() - whole.null_reasons.keys() - {"piotroski_f"}:
            if key == "TotalRevenue" and name == "revenue_cagr_3y":
                continue
            assert one.null_reasons[name].startswith("missing:"), name
            # TotalRevenue is also what makes an earlier year one.
            assert one.null_reasons[name] == f"missing:{key}"


# What the site may send

JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(["2023-12-31", "12M", "USD"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)
DAYS = st.one_of(st.sampled_from([day.isoformat() for day in [*YEARS, QUARTER_BEFORE, QUARTER]]), JUNK)
RAW = st.one_of(ANY_FLOAT, st.sampled_from([10**400, -(10**400), float("nan"), float("inf"), "5", "", None, True, [], {}]))
NAMES = [prefix + key for prefix in ("annual", "quarterly") for key in ("TotalRevenue", "TotalAssets", "OrdinarySharesNumber", "EBIT")]
NAMES += ["trailingTotalRevenue", "trailingNetIncome", "trailingTotalAssets", "annualUnknown", "meta", "timestamp"]


@st.composite
def timeseries(draw: Any) -> Any:
    point = st.one_of(
        st.fixed_dictionaries(
            {"reportedValue": st.one_of(st.fixed_dictionaries({"raw": RAW}), JUNK)},
            optional={
                "asOfDate": DAYS,
                "periodType": st.one_of(st.sampled_from(["12M", "3M", "TTM", "6M"]), JUNK),
                "currencyCode": st.one_of(st.sampled_from(["USD", "EUR"]), JUNK),
            },
        ),
        JUNK,
    )
    item = st.dictionaries(st.sampled_from(NAMES), st.one_of(st.lists(point, max_size=6), JUNK), max_size=4)
    return {"timeseries": draw(st.one_of(st.fixed_dictionaries({"result": st.lists(st.one_of(item, JUNK), max_size=6)}), JUNK))}


@CHECKS
@given(st.one_of(timeseries(), JUNK))
def test_any_answer_is_read_without_an_error_and_with_finite_numbers_only(payload: Any) -> None:
    statements = parse_timeseries(payload)
    for by_key in (statements.annual, statements.quarterly, statements.trailing):
        for key, by_day in by_key.items():
            assert key in KEYS
            assert by_day
            assert all(math.isfinite(point.value) and isinstance(day, date) for day, point in by_day.items())
    for one in ratio_rows(plain(statements=statements)):
        assert_sound(one)


@CHECKS
@given(
    st.one_of(
        st.fixed_dictionaries(
            {
                "chart": st.fixed_dictionaries(
                    {
                        "result": st.lists(
                            st.fixed_dictionaries(
                                {
                                    "meta": st.one_of(
                                        JUNK,
                                        st.fixed_dictionaries(
                                            {},
                                            optional={
                                                "regularMarketPrice": RAW,
                                                "currency": JUNK,
                                                "regularMarketTime": RAW,
                                                "exchangeTimezoneName": st.one_of(JUNK, st.just("Asia/Tokyo"), st.just("../etc")),
                                                "gmtoffset": RAW,
                                            },
                                        ),
                                    ),
                                    "timestamp": st.one_of(
                                        JUNK, st.lists(st.one_of(st.integers(), st.integers(0, 2 * 10**9), JUNK), max_size=6)
                                    ),
                                    "indicators": st.one_of(
                                        JUNK,
                                        st.fixed_dictionaries(
                                            {
                                                "quote": st.lists(
                                                    st.fixed_dictionaries({"close": st.lists(st.one_of(RAW, JUNK), max_size=6)})
                                                )
                                            }
                                        ),
                                    ),
                                    "events": st.one_of(
                                        JUNK,
                                        st.fixed_dictionaries(
                                            {
                                                "splits": st.dictionaries(
                                                    st.text(max_size=3),
                                                    st.one_of(
                                                        JUNK, st.fixed_dictionaries({"date": RAW, "numerator": RAW, "denominator": RAW})
                                                    ),
                                                    max_size=3,
                                                )
                                            }
                                        ),
                                    ),
                                }
                            ),
                            max_size=1,
                        )
                    }
                )
            }
        ),
        JUNK,
    )
)
def test_any_chart_is_read_without_an_error(payload: Any) -> None:
    chart = parse_chart(payload)
    assert all(math.isfinite(value) and value > 0 for value in chart.closes().values())
    assert all(math.isfinite(value) and value > 0 for value in chart.splits.values())
    assert chart.closes_until(NOW, 10).items() <= chart.closes().items()
