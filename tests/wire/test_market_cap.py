import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import SettingsError
from pipeline.wire.market_cap import cut_of, format_market_cap, parse_band, parse_market_cap, places_of_halves, read_market_cap


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("300M", 300_000_000),
        ("2B", 2_000_000_000),
        ("1.5T", 1_500_000_000_000),
        ("750k", 750_000),
        (" 10 m ", 10_000_000),
        ("1234567", 1_234_567),
        (5_000_000, 5_000_000),
        (2.5e9, 2_500_000_000),
        ("0", 0),
    ],
)
def test_market_caps_are_read_as_people_write_them(text, value):
    assert parse_market_cap(text) == value


@pytest.mark.parametrize("text", ["", "M", "-5M", "3X", "1,000", "1e9", "NaN", True, None, float("inf"), "9" * 30, "3\u212a", "٣M"])
def test_an_invalid_market_cap_is_refused(text):
    with pytest.raises(ValueError, match="market capitalization"):
        parse_market_cap(text)


def test_the_error_for_an_inverted_band_names_both_bounds():
    with pytest.raises(SettingsError, match="market-cap-min 2B is above market-cap-max 300M"):
        parse_band("2B", "300M")


def test_an_unreadable_bound_is_named():
    with pytest.raises(SettingsError, match="market-cap-max: 'plenty'"):
        parse_band("300M", "plenty")


@given(st.integers(min_value=0, max_value=10**15))
def test_a_formatted_market_cap_reads_back_as_itself(value):
    assert parse_market_cap(format_market_cap(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (300_000_000, "300M"), (316_227_766, "316.227766M"), (2_000_000_001, "2.000000001B"), (10**15, "1000T")],
)
def test_market_caps_are_formatted_with_the_largest_suffix_and_all_digits(value, text):
    assert format_market_cap(value) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.5B", 15 * 10**8), ("300,000,000", 3 * 10**8), ("847.2m", 847_200_000), ("--", None), ("", None), (None, None), ("1.2.3", None)],
)
def test_market_caps_are_read_as_the_site_shows_them(text, value):
    assert read_market_cap(text) == value


def test_a_band_is_split_at_its_geometric_mean():
    # sqrt(300e6 × 2e9) = 774 596 669.24
    assert cut_of(300_000_000, 2_000_000_000) == 774_596_669
    assert cut_of(0, 100) == 10  # a lower bound of 0 counts as 1
    assert cut_of(5, 5) is None
    assert cut_of(5, 6) is None


@given(st.integers(0, 10**13), st.integers(0, 10**13))
def test_both_halves_of_a_split_band_are_smaller(low, high):
    low, high = sorted((low, high))
    cut = cut_of(low, high)
    assert cut is None or low < cut < high


def test_repeated_splits_spread_over_all_partitions():
    """Three cuts make eight bands: in eight runs of three partitions, as members of a group have them."""
    bands = [({}, 5)]
    for _ in range(3):
        cut = [places_of_halves(headers, partition, 24) for headers, partition in bands]
        bands = [(headers, place) for places, headers in cut for place in places]
    assert sorted(place for _, place in bands) == [2, 5, 8, 11, 14, 17, 20, 23]


def test_a_redelivered_task_is_split_into_the_same_partitions():
    assert places_of_halves({}, 3, 24) == ((3, 15), {"cuts": "1"})
    assert places_of_halves({"cuts": "1"}, 15, 24) == ((15, 21), {"cuts": "2"})
    # From the retry topic, with another partition count.
    assert places_of_halves({"cuts": "1", "original-partition": "15"}, 2, 24) == ((15, 21), {"cuts": "2"})
    # Topics may exist with fewer partitions than there were, and headers may be anything.
    assert places_of_halves({"cuts": "9"}, 7, 3)[0] == (1, 2)
    assert places_of_halves({"cuts": "²", "original-partition": "²"}, 0, 1) == ((0, 0), {"cuts": "1"})
