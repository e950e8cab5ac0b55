"""What is said of the site, and what is kept of it."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

import config
from pipeline.yahoo import throttle_text
from pipeline.yahoo.learned import Learned, forget
from pipeline.yahoo.throttle import Throttle
from pipeline.yahoo.throttle_text import Allowed, Site, duration, site_of
from tests.yahoo.reports import REPORT

LIMIT = {"requests": 300.0, "seconds": 30.0, "confirmed": 1, "cap": 285.0, "left": 85}


def test_a_site_without_requests_is_described_as_such():
    assert throttle_text.text(None) == ""
    assert throttle_text.text(Site()) == "no process is asking the site"


def test_the_text_gives_answered_refused_allowed_and_remaining_time():
    leader = {**REPORT, "limits": [LIMIT], "waits_seconds": 0.0}
    site = site_of([leader, {**REPORT, "leads": False, "reason": ""}], [(1234, 5), (66, 7)], leader)
    assert throttle_text.text(site, 1000, 3.0) == (
        "1,300 answered, 12 refused, 9.5/s now; about 36,000 allowed per hour (300 in 30 s); the rest takes 5 min"
    )
    # Once nobody asks any more.
    assert "0.0/s now; about 36,000" in throttle_text.text(site_of([], [(1234, 5)], leader))


def test_the_ceiling_is_named_if_it_is_the_limit():
    site = Site(10, 0, 4.0, 4.0, (Allowed(300, 30, 285),))
    assert (
        throttle_text.text(site, 100, 3.0)
        == "10 answered, 0 refused, 4.0/s now; about 14,400 allowed per hour (REQUESTS_PER_SECOND 4); the rest takes 75 s"
    )


def test_a_wait_is_described_with_its_reason_and_duration():
    site = Site(10, 1, 0.0, 0.0, (Allowed(10, 7200, 0),), 5400.0, "the site answered 429")
    assert (
        throttle_text.text(site)
        == "waiting 90 min until the site's allowance has room; 10 answered, 1 refused, 0.0/s now; about 10 allowed per hour (10 in 2 h)"
    )
    assert (
        throttle_text.text(replace(site, refused_seconds=700.0))
        == "the site has refused everything for 12 min; next try in 90 min; 10 answered, 1 refused, 0.0/s now; "
        "about 10 allowed per hour (10 in 2 h)"
    )


def test_the_rest_of_a_long_window_can_be_used_at_once():
    assert Site(limits=(Allowed(8000, 86_400, 6000),), ceiling=4.0).seconds_for(3000) == 750
    assert Site(limits=(Allowed(8000, 86_400, 0),), ceiling=4.0).seconds_for(4000) == 43_200
    assert Site(per_second=2.0).seconds_for(100) is None


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2.0 h")])
def test_durations_are_written_in_the_largest_fitting_unit(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (Allowed(300, 30), "36,000 allowed per hour (300 in 30 s)"),
        (Allowed(60, 60), "3,600 allowed per hour (60 in 60 s)"),
        (Allowed(600, 200), "10,800 allowed per hour (600 in 200 s)"),
        (Allowed(600, 600), "3,600 allowed per hour (600 in 10 min)"),
        (Allowed(360, 3600), "360 allowed per hour (360 in 1 h)"),
        (Allowed(8000, 86_400), "8,000 allowed per hour (8,000 in 24 h)"),
    ],
)
def test_a_limit_is_named_by_its_own_window(limit, text):
    assert throttle_text.allowed(Site(limits=(limit,))) == f"about {text}"


# Kept for the next run


@pytest.fixture
def settings(tmp_path: Path):
    return replace(
        config.load(environ={"PIPELINE_HOME": str(tmp_path), "YAHOO_BASE_URL": "http://127.0.0.1:1"}, env_file=tmp_path / "none")
    )


KEPT = {"version": 1, "site": "http://127.0.0.1:1", "saved_at": 1000.0, "learned_at": 1000.0, "limits": [LIMIT], "history": []}
LEARNED = {"limits": [LIMIT], "history": [[20.0, 15.0, 7], [3.0, 2.9, 1]]}


def test_learned_limits_are_kept_for_the_next_run_with_their_age(settings):
    Learned(settings).save(LEARNED, now=1000.0)
    kept = Learned(settings).load(now=1010.0)
    limit = {name: value for name, value in LIMIT.items() if name != "left"}
    assert kept == {"limits": [limit], "history": [[30.0, 25.0, 7], [13.0, 12.9, 1]], "learned_at": 1000.0}
    again = Learned(settings)
    again.load(now=1010.0)
    again.save(LEARNED, now=2000.0)
    assert Learned(settings).load(now=2000.0)["learned_at"] == 1000.0, "the same limits were learned then"
    assert [path.name for path in settings.state_dir.iterdir()] == ["throttle.json"]
    assert throttle_text.learned(kept, 4.0) == "about 14,400 allowed per hour (REQUESTS_PER_SECOND 4), learned 1970-01-01 00:16 UTC"


def test_another_site_is_learned_from_scratch_and_another_stand_in_keeps_only_the_limits(settings):
    Learned(settings).save(LEARNED, now=1000.0)
    other = replace(settings, yahoo_base_url="http://127.0.0.1:2")
    assert Learned(other).load() is None
    assert Learned(replace(other, demo=True)).load(now=1000.0)["history"] == []
    forget(settings.state_dir)
    assert Learned(settings).load() is None
    forget(settings.state_dir)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "7",
        "\xff",
        '{"version": 1}',
        '{"version": 2, "site": ""}',
        "[" * 99_999,
        *(
            json.dumps({**KEPT, **wrong})
            for wrong in (
                {"saved_at": "x"},
                {"saved_at": float("nan")},
                {"learned_at": 1e300},
                {"limits": [{**LIMIT, "requests": -5}]},
                {"limits": [{**LIMIT, "seconds": 1e9}]},
                {"limits": {"a": 1}},
                {"history": [[3.0, 2.0, 10**30]]},
                {"history": [[-1e6, -1e6, 10]]},
                {"history": "abc"},
                {"padding": "x" * 1_000_000},
            )
        ),
    ],
)
def test_an_invalid_file_counts_as_missing(settings, text, caplog):
    path = Learned(settings).path
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="latin-1")
    assert Learned(settings).load() is None
    assert throttle_text.learned(None, 4.0) == "the site's limits are not known yet; at most 4 requests a second"


def test_a_pipe_is_not_waited_for_and_a_file_from_the_future_has_no_history(settings):
    path = Learned(settings).path
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    assert Learned(settings).load() is None
    path.unlink()
    path.write_text(json.dumps({**KEPT, "history": [[3.0, 2.9, 1]]}))
    kept = Learned(settings).load(now=500.0)
    assert (kept["history"], kept["learned_at"]) == ([], 500.0)


def test_an_unwritable_folder_is_reported_once(settings, caplog):
    settings.state_dir.mkdir(parents=True)
    (settings.state_dir / "throttle.json").mkdir()
    learned = Learned(settings)
    for _ in range(2):
        learned.save(LEARNED)
    assert [record.message.count("can't be kept") for record in caplog.records] == [1]
    assert [path.name for path in settings.state_dir.iterdir()] == ["throttle.json"]


def test_invalid_limits_leave_the_throttle_unchanged():
    throttle = Throttle(0.0)
    with pytest.raises((KeyError, TypeError, ValueError)):
        throttle.remember({"limits": [{**LIMIT, "seconds": -1}], "history": []})
    assert throttle.governor.limits == []
