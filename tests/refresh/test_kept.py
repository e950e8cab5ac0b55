"""What is kept of a company comes back as it was, and gives the same rows."""

from __future__ import annotations

import json
from datetime import date

from hypothesis import given, settings

from pipeline.ratios import kept
from pipeline.ratios.fundamentals import Fundamentals
from pipeline.ratios.rows import ratio_rows
from tests.ratios.companies import plain, with_lines
from tests.ratios.test_properties import companies


def there_and_back(found: Fundamentals) -> Fundamentals:
    payload = json.loads(json.dumps(kept.to_payload(found), allow_nan=False))
    return kept.from_payload(payload, **{name: getattr(found, name) for name in kept.OF_THE_DAY})


@settings(max_examples=40)
@given(companies())
def test_any_company_comes_back_as_it_was_and_gives_the_same_rows(company: Fundamentals) -> None:
    again = there_and_back(company)
    assert again == company
    assert ratio_rows(again) == ratio_rows(company)


def test_every_field_comes_back() -> None:
    company = plain(
        chart_currency="GBp",
        newest_close=(date(2024, 5, 15), 3000.0),
        steps={date(2023, 6, 1): 0.5},
        splits={date(2023, 6, 1): 2.0},
        sector="Industrials",
    )
    assert there_and_back(company) == company
    assert kept.from_payload({**kept.to_payload(company), "of_a_later_version": 1}, symbol="PLAIN", as_of=company.as_of)


def test_the_same_content_has_one_hash_whatever_price_closes_and_order() -> None:
    company = kept.to_payload(plain())
    turned = json.loads(json.dumps(company, sort_keys=True))
    turned["statements"] = dict(reversed(list(turned["statements"].items())))
    assert kept.content_hash(turned) == kept.content_hash(company)
    assert kept.content_hash(kept.to_payload(plain(price=31.0, closes={}))) == kept.content_hash(company)
    assert kept.content_hash(kept.to_payload(with_lines(TotalDebt=501))) != kept.content_hash(company)
    assert kept.content_hash(kept.to_payload(plain(splits={date(2024, 1, 2): 2.0}))) != kept.content_hash(company)
