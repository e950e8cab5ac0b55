import json
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import MessageError
from pipeline.wire import messages
from pipeline.wire.messages import ProcessingTask, ScrapingTask
from pipeline.wire.results import Computed, Listed, Nothing, Split, Untouched, completion

RUN = "20261124T071326Z-1f3a"
SCRAPING = ScrapingTask(RUN, "fr", "France", 300_000_000, 2_000_000_000)
PROCESSING = ProcessingTask(RUN, "BRK-B", "Berkshire", "us")


def test_a_run_id_contains_its_start_and_sorts_by_it():
    early = messages.new_run_id(datetime(2026, 11, 24, 7, 13, 26, tzinfo=timezone.utc))
    late = messages.new_run_id(datetime(2026, 11, 24, 7, 13, 27, tzinfo=timezone.utc))
    assert early.startswith("20261124T071326Z-")
    assert early < late
    assert messages.run_started_at(early) == datetime(2026, 11, 24, 7, 13, 26, tzinfo=timezone.utc)


def test_task_ids_follow_from_the_task():
    assert SCRAPING.task_id == f"scrape:{RUN}:fr:300000000-2000000000"
    assert PROCESSING.task_id == f"process:{RUN}:BRK-B"


def test_a_task_reads_back_as_itself():
    assert messages.scraping_task(messages.pending(SCRAPING)) == SCRAPING
    assert messages.processing_task(messages.pending(PROCESSING)) == PROCESSING


def test_a_quote_travels_in_the_task_only():
    quote = {"marketCap": 5, "currency": "EUR", "earningsTimestamp": 1_764_000_000, "seen_at": "2026-11-24T07:13:26+00:00"}
    task = ProcessingTask(RUN, "MC.PA", "Maison", "fr", quote)
    assert messages.processing_task(messages.pending(task)) == task
    assert "quote" not in task.fields()
    assert "quote" not in messages.decode(messages.error_message(task, "x", "TransientError", 1, final=True))


@pytest.mark.parametrize("quote", [None, 3, "text", [], {"marketCap": "many", "seen_at": "yesterday", "currency": 7, "other": 1}])
def test_an_invalid_quote_does_not_invalidate_its_task(quote):
    assert messages.processing_task(poisoned(quote=quote)) == PROCESSING


def test_bounds_are_read_as_people_write_them():
    fields = json.loads(messages.pending(SCRAPING)) | {"market_cap_min": "300M", "market_cap_max": "2B", "more": [1]}
    assert messages.scraping_task(json.dumps(fields).encode()) == SCRAPING


def poisoned(**changes):
    fields = json.loads(messages.pending(PROCESSING)) | changes
    return json.dumps({name: value for name, value in fields.items() if value != "gone"}).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    "raw",
    [
        None,
        b"",
        b"not json",
        b"\xff\xfe",
        b"[]",
        b"3",
        b"null",
        b"{}",
        b"[" * 100_000,
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        poisoned(symbol=""),
        poisoned(symbol="gone"),
        poisoned(symbol=7),
        poisoned(symbol="A\x00B"),
        poisoned(symbol="A\nB"),
        poisoned(symbol=" A"),
        poisoned(symbol="A" * 65),
        poisoned(name="\ud800"),
        poisoned(name="n" * 1001),
        poisoned(country_code="US"),
        poisoned(country_code="usa"),
        poisoned(run_id="yesterday"),
        poisoned(run_id="20261324T071326Z-1f3a"),
        poisoned(task_id="process:other"),
        poisoned(status=None),
    ],
)
def test_bytes_that_are_not_a_task_are_refused(raw):
    with pytest.raises(MessageError):
        messages.processing_task(raw)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_and_nothing_else(raw):
    with pytest.raises(MessageError):
        messages.processing_task(raw)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner), max_leaves=8))
def test_json_of_another_shape_is_refused_and_nothing_else(value):
    with pytest.raises(MessageError):
        messages.scraping_task(json.dumps(value).encode())


@pytest.mark.parametrize("symbol", ["A'; DROP TABLE stock;--", "../../x", "<b>", "É.PA", "0700.HK", "M&M.NS"])
def test_any_printable_symbol_makes_a_valid_task(symbol):
    task = ProcessingTask(RUN, symbol, "", "us")
    assert messages.processing_task(messages.pending(task)) == task


def test_an_inverted_band_is_refused():
    fields = json.loads(messages.pending(SCRAPING)) | {"market_cap_min": "3B"}
    with pytest.raises(MessageError, match="above"):
        messages.scraping_task(json.dumps(fields).encode())


def test_an_error_message_is_bounded_and_clean():
    fields = messages.decode(messages.error_message(PROCESSING, "x\x00" * 5000, "TransientError", 2, final=False))
    assert fields["status"] == "retrying"
    assert fields["attempt"] == 2
    assert len(fields["error"]) == messages.ERROR_TEXT_LIMIT
    assert "\x00" not in fields["error"]
    assert fields["symbol"] == "BRK-B"


def test_completions_say_what_was_done():
    done = messages.decode(completion(PROCESSING, Computed(5)))
    assert (done["status"], done["ratios_calculated"]) == ("completed", 5)
    nothing = messages.decode(completion(PROCESSING, Nothing("gone")))
    assert (nothing["status"], nothing["reason"]) == ("no_data", "gone")
    empty = messages.decode(completion(SCRAPING, Listed(0)))
    assert (empty["status"], empty["tickers_found"]) == ("completed", 0)
    halves = ScrapingTask(RUN, "fr", "France", 1, 2), ScrapingTask(RUN, "fr", "France", 2, 3)
    split = messages.decode(completion(SCRAPING, Split(halves, "table")))
    assert (split["status"], split["children"], split["source"]) == ("split", [half.task_id for half in halves], "table")
    untouched = messages.decode(completion(PROCESSING, Untouched("fresh")))
    assert (untouched["status"], untouched["ratios_calculated"]) == ("fresh", 0)


@given(st.text(alphabet=st.characters(), max_size=50))
def test_cleaned_text_is_accepted_by_postgresql(text):
    cleaned = messages.clean_text(text + "\x00\ud800")
    assert "\x00" not in cleaned
    cleaned.encode("utf-8")


@pytest.mark.parametrize(
    "symbol", ["A\x1b[2J", "A\x9b31m", "A\u202eB", "A\u2028B", "A\u200bB", "A\u00a0B", "A\u00adB", "A\x7f", " A", "A\u3000"]
)
def test_a_symbol_with_invisible_characters_is_refused(symbol):
    with pytest.raises(MessageError):
        messages.processing_task(messages.pending(ProcessingTask(RUN, symbol, "A", "us")))


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("Söhne & Cie", "Söhne & Cie"),
        ("Two\nlines\r\n of\ttext", "Two lines of text"),
        ("Red\x1b[31m\x9b0m", "Red [31m 0m"),
        ("a\u202etxt.exe\u2066", "atxt.exe"),
        ("Volks\u00adwagen\u00a0AG", "Volkswagen AG"),
        ("\x1b\u200f", ""),
        ("東京エレクトロン", "東京エレクトロン"),
    ],
)
def test_names_are_cleaned_when_they_are_read(name, clean):
    assert messages.processing_task(messages.pending(ProcessingTask(RUN, "A", name, "us"))).name == clean
