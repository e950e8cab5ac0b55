"""Answers, queries, walls and what they add up to: pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from pipeline.errors import PermanentError, RateLimited, TransientError
from pipeline.screener import answers, query, walls
from pipeline.screener.answers import Answer, Listing, SiteError
from pipeline.screener.harvest import RegionList, all_pages
from pipeline.screener.homes import strange_home
from pipeline.screener.page_driver import says_none
from pipeline.screener.page_state import LOADING, Row, Selection

BAND = (300_000_000, 2_000_000_000)


def result(**fields: Any) -> dict[str, Any]:
    return {"finance": {"result": [fields], "error": None}}


def test_both_shapes_of_an_answer_give_the_same_rows() -> None:
    quotes = answers.parse(
        result(total=2, quotes=[{"symbol": "A", "longName": "Alpha", "marketCap": 5}, {"symbol": "B", "shortName": "--"}])
    )
    records = answers.parse(
        result(total={"raw": 2}, records=[{"ticker": "A", "companyName": "Alpha", "marketCap": {"raw": 5, "fmt": "5"}}, {"ticker": "B"}])
    )
    assert quotes == records == Answer(2, (Listing("A", "Alpha", {"marketCap": 5}), Listing("B", "B", {})))


@pytest.mark.parametrize(
    "value", [None, 3, [], {}, {"finance": {"result": [], "error": None}}, result(), result(total=5), {"html": "<tr>"}]
)
def test_an_invalid_answer_is_never_an_empty_list(value: Any) -> None:
    assert answers.parse(value) is None


@pytest.mark.parametrize(
    "value",
    [
        {"finance": {"result": [{"total": "2", "quotes": [{"symbol": "A"}, {"symbol": "B"}]}]}},
        {"finance": {"result": {"total": {"fmt": "2", "longFmt": "2"}, "records": [{"ticker": "A"}, {"ticker": {"raw": "B"}}]}}},
        {"data": {"finance": {"result": [{"quotes": [], "total": 0}, {"total": 2, "rows": [{"symbol": "A"}, {"symbol": "B"}]}]}}},
        {"totalCount": 2, "page": {"quotes": [{"symbol": "A"}, {"symbol": "B"}]}, "news": {"total": 0}},
    ],
)
def test_fields_around_the_rows_do_not_matter(value: Any) -> None:
    assert answers.parse_text(")]}'\n" + json.dumps(value)) == Answer(2, (Listing("A", "A"), Listing("B", "B")))


def test_an_error_beside_rows_or_a_total_is_an_error() -> None:
    broken = {"code": "Internal", "description": "half of the shards"}
    for result_ in ([{"total": 0, "quotes": []}], [{"total": 9, "quotes": [{"symbol": "A"}]}], []):
        assert answers.parse({"finance": {"result": result_, "error": broken}}) == SiteError("Internal", "half of the shards")
    assert answers.parse({"error": "Too Many Requests"}) == SiteError("", "Too Many Requests")


def test_a_total_smaller_than_the_rows_beside_it_is_ignored() -> None:
    assert answers.parse(result(total=0, quotes=[{"symbol": "A"}])) == Answer(None, (Listing("A", "A"),))


def test_rows_without_any_symbol_are_of_another_shape() -> None:
    assert answers.parse(result(total=9, quotes=[{"tickerSymbol": str(number)} for number in range(9)])) is None


def test_only_a_total_of_0_means_an_empty_list() -> None:
    assert answers.parse(result(total=0)) == answers.parse(result(total=0, quotes=[])) == Answer(0, ())
    assert answers.parse({"finance": {"result": None, "error": {"code": "Unauthorized", "description": "Invalid Crumb"}}}) == SiteError(
        "Unauthorized", "Invalid Crumb"
    )


@pytest.mark.parametrize(
    ("body", "none"),
    [
        ("<p>0 results</p>", True),
        ("<div>0-0 of 0 results</div>", True),
        ("<p>No stocks match</p>", False),
        ("", False),
        ("<p>10 results</p>", False),
        ('<a href="/quote/A/">A</a><p>0 results</p>', False),
    ],
)
def test_an_html_page_means_an_empty_list_only_if_it_shows_a_total_of_0(body: str, none: bool) -> None:
    assert says_none(body) is none


@pytest.mark.parametrize(
    "operand",
    [
        {"operator": "EQ", "operands": ["region", "us"]},
        {"operator": "eq", "operands": ["region", "US"]},
        {
            "operator": "or",
            "operands": [{"operator": "EQ", "operands": ["region", "us"]}, {"operator": "EQ", "operands": ["region", "ca"]}],
        },
        {"operator": "IS-IN", "operands": ["region", "us", "ca"]},
        {"operator": "IS-IN", "operands": ["region", ["us"]]},
    ],
)
def test_the_pages_own_body_is_sent_with_other_operands(operand: dict[str, Any]) -> None:
    other = {"operator": "GT", "operands": ["intradayprice", 5]}
    template = {"size": 25, "sortField": "x", "includeFields": ["ticker"], "query": {"operator": "and", "operands": [operand, other]}}
    body = query.body(query.template_of(json.dumps(template)), "fr", BAND, 500)
    assert query.asked(json.dumps(body)) == query.Asked(frozenset({"fr"}), BAND)
    assert (body["offset"], body["size"], body["sortField"], body["sortType"], body["includeFields"]) == (
        500,
        250,
        "ticker",
        "ASC",
        ["ticker", "sector", "industry"],
    )
    assert "intradayprice" not in json.dumps(body)
    shown = query.asked(json.dumps(template))
    assert shown is not None
    assert "us" in shown.regions
    assert shown.band is None


def test_a_filter_that_the_page_may_have_added_is_not_repeated() -> None:
    template = {
        "query": {"operator": "AND", "operands": []},
        "filters": [{"sector": "Energy"}],
        "scope": {"a": 1},
        "crumb": "c",
        "count": 25,
    }
    body = query.body(template, "fr", BAND, 0)
    assert not {"filters", "scope", "count"} & set(body)
    assert body["crumb"] == "c"
    assert set(query.body(template, "fr", BAND, 0, plain=True)) - set(body) == {"userId", "userIdType"}


def test_query_addresses_are_found_anywhere_in_the_page() -> None:
    url = "https://query1.finance.yahoo.com/v1/finance/screener?crumb=a.b%2Fc&lang=en-US"
    for text in (url, json.dumps({"url": url}), url.replace("/", "\\/"), url.replace("&", "\\u0026"), url.replace("&", "&amp;")):
        (found,) = query.query_urls(text)
        assert query.crumb_of(found) == "a.b/c"
        assert query.without_crumb(found) == "https://query1.finance.yahoo.com/v1/finance/screener?crumb=-&lang=en-US"
        ours = query.query_url("http://127.0.0.1:1", query.crumb_of(found), found + "&useRecordsResponse=true&formatted=true")
        assert ours == "http://127.0.0.1:1/v1/finance/screener?lang=en-US&formatted=false&crumb=a.b%2Fc"


@pytest.mark.parametrize(
    "text", ["Edge: Too Many Requests", "Sorry!\nYou have sent too many requests.", "Access Denied", "Error 429", "請求過多"]
)
def test_refusals_in_words_are_recognized(text: str) -> None:
    assert isinstance(walls.of_words(text, "the page", 200), RateLimited)


@pytest.mark.parametrize("text", ["Stock Screener", "Loading", "", "Markets at a glance: 429 companies report"])
def test_other_words_are_not_refusals(text: str) -> None:
    assert walls.of_words(text, "the page", 200) is None


# What the answers add up to


def the_list(total: int, *passes: list[Answer]) -> RegionList:
    def one(number: int) -> Iterator[Answer]:
        return iter(passes[min(number, len(passes) - 1)])

    return RegionList("a list", "api", total, one)


def of(total: int | None, symbols: str, **skipped: int) -> Answer:
    return Answer(total, tuple(Listing(symbol, symbol) for symbol in symbols.split()), skipped)


def symbols_of(found: RegionList) -> str:
    return " ".join(listing.symbol for page in found.pages() for listing in page)


def test_the_home_of_a_list_is_told_by_its_symbols() -> None:
    japan = [f"{number}.T" for number in range(1300, 1360)]
    assert strange_home([*japan, "BRK-B", "M&M.NS", "BF.B"], "jp") == ""
    assert strange_home(japan, "gb") == "jp"
    assert strange_home([f"A{number}" for number in range(30)] + japan, "jp") == "us"
    assert strange_home([f"A{number}" for number in range(5)], "jp") == "", "a few say nothing"


def test_rows_of_another_region_count_for_more_than_what_was_asked_for() -> None:
    rows = (Row("A", "A", None, "United States"),) * 3
    state = replace(LOADING, kind="rows", rows=rows, asked=query.Asked(frozenset({"jp"}), None))
    assert Selection("jp", *BAND).named_region(state) is False
    assert Selection("jp", *BAND).named_region(replace(state, rows=(replace(rows[0], region="Japón"),))) is True


@pytest.mark.parametrize(
    ("address", "chosen"),
    [
        ("/screener?region=us&min=1", True),
        ("/pieces?regions=United+States", True),
        ("/pieces?regions=us,jp", False),
        ("/screener?region=us&region=jp", False),
        ("/v7/finance/quote?symbols=A&lang=en-US&region=US", False),
        ("/pieces?page=us", False),
    ],
)
def test_an_address_chooses_a_region_by_a_parameter_of_that_name(address: str, chosen: bool) -> None:
    assert Selection("us", *BAND).is_chosen_in(address) is chosen


def test_a_stock_listed_twice_counts_once() -> None:
    found = the_list(4, [of(4, "A B B C")])
    assert symbols_of(found) == "A B C"
    assert (found.missing, found.skipped) == (0, {"doubled": 1})


def test_a_stock_pushed_to_another_page_is_found_in_the_second_pass() -> None:
    found = the_list(4, [of(4, "D C"), of(4, "C B")], [of(4, "D C"), of(4, "B A")])
    assert symbols_of(found) == "D C B A"
    assert (found.missing, found.skipped) == (0, {})


def test_rows_without_a_symbol_do_not_count_as_missing() -> None:
    found = the_list(3, [of(3, "A B", no_symbol=1)])
    assert symbols_of(found) == "A B"
    assert (found.missing, found.skipped) == (0, {"no_symbol": 1})


@pytest.mark.parametrize(("total", "fine"), [(7, True), (8, False)])
def test_a_few_may_be_missing(total: int, fine: bool) -> None:
    found = the_list(total, [of(total, "A B")])
    if fine:
        assert symbols_of(found) == "A B"
    else:
        with pytest.raises(TransientError, match="2 of 8 stocks"):
            symbols_of(found)
    assert found.missing == total - 2


def test_a_total_that_drops_within_the_list_does_not_end_it() -> None:
    found = the_list(9, [of(9, "A B C"), of(0, "")], [of(9, "A B C"), of(9, "D E F G H I")])
    assert symbols_of(found) == "A B C D E F G H I"
    assert (found.total, found.missing) == (9, 0)


@pytest.mark.parametrize(
    "answers_", [[of(12, "A B C D E F", doubled=0)] * 2, [Answer(5, ())], [of(9, "", no_symbol=9)], [Answer(None, (Listing("A", "A"),))]]
)
def test_a_list_of_doubtful_answers_never_counts_as_complete(answers_: list[Answer]) -> None:
    """The same rows at every offset; a total without rows; nothing but rows without a symbol; no total and no end."""
    with pytest.raises(TransientError, match="stocks were listed in 2 passes"):
        symbols_of(the_list(answers_[0].total or 1, answers_))


@pytest.mark.parametrize("per_answer", [1, 25, 100, 250])
@pytest.mark.parametrize("says_total", [True, False])
def test_the_site_decides_how_many_rows_an_answer_has(per_answer: int, says_total: bool) -> None:
    symbols = [f"S{number:03}" for number in range(260)]
    asked: list[int] = []

    def ask(offset: int) -> Answer:
        asked.append(offset)
        rows = symbols[offset : offset + per_answer]
        return Answer(len(symbols) if says_total else None, tuple(Listing(symbol, symbol) for symbol in rows))

    found = RegionList("a list", "api", len(symbols), lambda number: all_pages(ask))
    assert symbols_of(found).split() == symbols
    assert (found.total, found.missing) == (260, 0)
    assert len(asked) == -(-260 // per_answer) + (not says_total), "no second pass"


@pytest.mark.parametrize(
    ("answer", "asked"),
    [(of(None, "A B C D E F G H"), 2), (of(None, "A B C"), 3), (of(None, "A"), 7), (of(None, "", no_symbol=25), 6), (of(300, "A A A"), 7)],
)
def test_a_site_that_repeats_its_rows_is_not_asked_for_ever(answer: Answer, asked: int) -> None:
    assert len(list(islice(all_pages(lambda offset: answer), 20))) == asked


def test_more_than_the_site_can_give_is_refused_with_advice() -> None:
    with pytest.raises(PermanentError, match="choose narrower bands"):
        symbols_of(the_list(10_001, [of(10_001, "A")]))
