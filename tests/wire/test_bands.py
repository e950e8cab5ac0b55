"""A band in one money: bounds rounded outward, and what was wanted on its way through messages."""

import json
from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from config.values import CURRENCIES, LOCAL, SettingsError, currency
from pipeline.errors import MessageError
from pipeline.wire import messages
from pipeline.wire.bands import WantedBand, amount_text, converted, rate_text
from pipeline.wire.currencies import REGION_CURRENCIES, DayRate, per_dollar, upside_down
from pipeline.wire.market_cap import LARGEST
from pipeline.wire.messages import ScrapingTask
from pipeline.wire.regions import REGIONS, RegionBand

WANTED = WantedBand(300_000_000, 2_000_000_000, "USD", 149.2, date(2026, 11, 27))
TASK = ScrapingTask("20261124T071326Z-1f3a", "jp", "Japan", 44_700_000_000, 299_000_000_000, WANTED)

bounds = st.integers(0, 10**13)
rates = st.floats(1e-6, 1e6, allow_nan=False).filter(lambda rate: rate != 1)


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (149.2, (44_700_000_000, 299_000_000_000)),  # 44.76 and 298.4 billion
        (16_500.0, (4_950_000_000_000, 33_000_000_000_000)),  # 4.95 and 33 trillion: nothing to round
        (0.3071, (92_100_000, 615_000_000)),  # 92.13 and 614.2 million
        (1.0, (300_000_000, 2_000_000_000)),
        (1e-9, (0, 2)),  # 0.3 and 2
    ],
)
def test_bounds_are_rounded_outward_to_three_digits(rate, expected):
    assert converted(300_000_000, 2_000_000_000, rate) == expected


def test_a_band_in_the_regions_own_currency_is_unchanged():
    assert converted(1_234_567, 7_654_321, 1.0) == (1_234_567, 7_654_321)


@given(bounds, bounds, rates)
@example(0, 0, 149.2)
@example(999_999, 10**13, 1.0000001)
def test_a_converted_band_contains_the_wanted_band_and_little_more(one, other, rate):
    low, high = sorted((one, other))
    exact = Fraction(Decimal(repr(rate)))
    least, most = converted(low, high, rate)
    assert least <= low * exact <= high * exact <= most
    for bound, value in ((least, low * exact), (most, high * exact)):
        assert abs(bound - value) < max(value / 100, 1)
        assert len(str(bound).rstrip("0")) <= 3


def test_a_bound_too_large_for_a_message_becomes_the_largest_possible():
    assert converted(0, LARGEST, 16_500.0) == (0, LARGEST)


@given(st.builds(WantedBand, st.none() | bounds, st.none(), st.sampled_from(["USD", "KWD"]), rates, st.dates()))
def test_a_wanted_band_reads_back_as_itself(wanted):
    assert WantedBand.read(json.loads(json.dumps(wanted.fields()))) == wanted


def test_a_wanted_band_travels_with_its_task_without_changing_the_task_id():
    assert messages.scraping_task(messages.pending(TASK)) == TASK
    assert TASK.task_id == "scrape:20261124T071326Z-1f3a:jp:44700000000-299000000000"
    assert json.loads(messages.pending(TASK))["wanted"] == {
        **{"min": 300_000_000, "max": 2_000_000_000, "currency": "USD"},
        **{"rate": 149.2, "rate_day": "2026-11-27"},
    }
    error = messages.decode(messages.error_message(TASK, "x", "TransientError", 1, final=True))
    assert error["wanted"] == WANTED.fields()


def test_a_task_without_a_wanted_band_is_in_the_regions_own_currency():
    fields = json.loads(messages.pending(TASK))
    for value in (None, "gone"):
        raw = json.dumps({name: found for name, found in (fields | {"wanted": value}).items() if found != "gone"}).encode()
        assert messages.scraping_task(raw).wanted is None


@pytest.mark.parametrize(
    "wrong",
    [
        *("text", [], 3, {}),
        *({"rate": rate} for rate in (0, -149.2, "149.2", None, True, 10**400)),
        *({"currency": code} for code in ("usd", "GBp", "US", None, 5, "ＵＳＤ")),
        *({"rate_day": day} for day in ("yesterday", None, 20261127)),
        *({"min": amount} for amount in ("lots", -1, [], 3 * 10**9)),
    ],
)
def test_an_invalid_wanted_band_is_refused(wrong):
    wanted = WANTED.fields() | wrong if isinstance(wrong, dict) and wrong else wrong
    raw = json.dumps(json.loads(messages.pending(TASK)) | {"wanted": wanted}).encode()
    with pytest.raises(MessageError, match=r"^wanted: "):
        messages.scraping_task(raw)


def test_the_tasks_of_a_run_read_back_and_so_do_those_of_earlier_versions():
    bands = [RegionBand("jp", 44_700_000_000, 299_000_000_000, WANTED), RegionBand("fr", 1, 2)]
    assert [RegionBand.read(json.loads(json.dumps(band.as_json()))) for band in bands] == bands
    assert RegionBand.read(["fr", 1, 2]) == bands[1]
    assert [band.asked for band in bands] == [("jp", 300_000_000, 2_000_000_000, "USD"), ("fr", 1, 2, LOCAL)]


def test_every_region_has_a_currency():
    assert set(REGION_CURRENCIES.values()) <= CURRENCIES
    assert REGION_CURRENCIES.keys() == REGIONS.keys()
    assert {code for code, money in REGION_CURRENCIES.items() if money == "EUR"} == {
        *("at", "be", "de", "ee", "es", "fi", "fr", "gr", "ie", "it", "lt", "lv", "nl", "pt")
    }
    assert (REGION_CURRENCIES["gb"], REGION_CURRENCIES["kw"], REGION_CURRENCIES["za"]) == ("GBP", "KWD", "ZAR"), "no trading units"


@pytest.mark.parametrize(
    ("money", "rate", "stored", "expected"),
    [
        ("JPY", 149.2, None, False),
        ("JPY", 0.0067, None, True),
        ("KWD", 3.25, None, True),
        ("KWD", 0.307, None, False),
        ("ARS", 145_000.0, None, False),  # worth a hundredth of what it was
        ("EUR", 1.15, None, False),  # too near to 1 to tell,
        ("EUR", 1.15, 0.87, True),  # unless a rate of the last days is there
        ("EUR", 0.91, 0.87, False),
        ("EUR", 1.01, 0.99, False),
        ("VES", 0.004, None, False),  # nothing is known of it,
        ("VES", 0.004, 250.0, True),
        ("XXX", 0.5, None, False),
    ],
)
def test_an_inverted_rate_is_recognized_by_another_rate_of_its_pair(money, rate, stored, expected):
    assert upside_down(money, rate, stored) == expected


def test_rates_of_either_direction_give_the_price_of_a_dollar():
    day = date(2026, 11, 27)
    assert per_dollar({"USDJPY": DayRate(day, 150.0), "GBPUSD": DayRate(day, 1.25), "EURJPY": DayRate(day, 170.0)}) == {
        **{"JPY": 150.0, "GBP": 0.8}
    }


@pytest.mark.parametrize(("text", "code"), [("USD", "USD"), (" eur ", "EUR"), ("Local", LOCAL), ("LOCAL", LOCAL)])
def test_a_currency_is_an_iso_code_or_local(text, code):
    assert currency(text) == code


@pytest.mark.parametrize("text", ["", "GBp", "ZAc", "ILA", "GBX", "dollars", "US$", "U D", "USDT", "ＵＳＤ", "ABC", "abc", "XXX"])
def test_an_invalid_currency_is_refused_with_what_is_expected(text):
    with pytest.raises(SettingsError, match=r"^MARKET_CAP_CURRENCY is .*: expected a currency's ISO code such as USD, or local$"):
        currency(text)


def test_amounts_and_rates_are_written_without_noise():
    assert [rate_text(rate) for rate in (149.2, 16_523.4, 0.30712, 1.0)] == ["149.2", "16520", "0.3071", "1"]
    assert [amount_text(amount) for amount in (36_512_345_678_901.0, 449_999_999.0, 0.0, 12.0)] == ["36.5T", "450M", "0", "12"]
    assert str(WANTED) == "300M to 2B USD"
    assert str(WantedBand(None, 5, "USD", 1.0, date(2026, 1, 1))) == "any to 5 USD"
