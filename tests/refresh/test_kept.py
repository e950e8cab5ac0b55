"""What is kept of a company comes back as it was, and gives the same rows."""

from __future__ import annotations

import hashlib
import json
from datetime import date

from hypothesis import given, settings

from pipeline.ratios import kept
from pipeline.ratios.fundamentals import Fundamentals
from pipeline.ratios.rows import ratio_rows
from tests.ratios.companies import plain, with_lines
from tests.ratios.test_properties import companies


def there_and_back(found: Fundamentals) -> Fundamentals:
    return kept.from_payload(json.loads(kept.to_text(found).text), **{name: getattr(found, name) for name in kept.OF_THE_DAY})


@settings(max_examples=40)
@given(companies())
def test_any_company_reads_back_unchanged_and_gives_the_same_rows(company: Fundamentals) -> None:
    again = there_and_back(company)
    assert again == company
    assert ratio_rows(again) == ratio_rows(company)


def test_every_field_reads_back() -> None:
    company = plain(
        chart_currency="GBp",
        newest_close=(date(2024, 5, 15), 3000.0),
        steps={date(2023, 6, 1): 0.5},
        splits={date(2023, 6, 1): 2.0},
        sector="Industrials",
    )
    assert there_and_back(company) == company
    payload = json.loads(kept.to_text(company).text)
    assert kept.from_payload({**payload, "of_a_later_version": 1}, symbol="PLAIN", as_of=company.as_of)


def test_the_hash_of_the_content_ignores_price_closes_and_order() -> None:
    text, content_hash = kept.to_text(plain())
    turned = dict(reversed(json.loads(text).items()))
    turned["statements"] = dict(reversed(turned["statements"].items()))
    assert kept.as_text(turned) == (text, content_hash)
    assert kept.to_text(plain(price=31.0, closes={})).content_hash == content_hash
    assert kept.to_text(with_lines(TotalDebt=501)).content_hash != content_hash
    assert kept.to_text(plain(splits={date(2024, 1, 2): 2.0})).content_hash != content_hash


def test_the_hash_is_that_of_earlier_versions() -> None:
    """Another one would store all companies once more."""
    text, content_hash = kept.to_text(plain())
    content = {name: value for name, value in json.loads(text).items() if name in ("statements", "currency", "financial_currency")}
    assert content_hash == hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def test_half_a_character_in_a_text_of_the_site_is_kept_as_it_is() -> None:
    assert there_and_back(plain(currency="U\ud800")).currency == "U\ud800"
