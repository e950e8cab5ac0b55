"""The drawing in windows of several sizes: it never exceeds them, and untrusted texts are shown as plain text."""

from __future__ import annotations

import dataclasses
import io
import re
import time

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.screen import Screen

from pipeline.runs.account import Account
from pipeline.runs.drawing import draw, seconds_text
from pipeline.runs.lag import FINE, REWOUND, SLOW, STALLED, STOPPED, GroupLag
from pipeline.runs.text import view_line
from pipeline.runs.view import MonitorView

RUN = "20261124T090029Z-08af"
REGIONS = {"us": "United States", "fr": "France", "gb": "United Kingdom", "de": "Germany", "jp": "Japan"}
SIZES = [(80, 24), (120, 40)]
HOSTILE = {
    "markup": "[bold red]gone[/] [link=http://evil.example]here[/link] [/nope]",
    "escapes": "\x1b[2J\x1b[H\x1b]0;pwned\x07\x9b31m\x1b[?1049l",
    "lines": "one\r\ntwo\nthree\ttab\x0b\x0c\u2028four\x85five",
    "long": "a very long reason " * 60,
    "wide": "株式会社" * 60 + "👩‍👩‍👧‍👦" * 20,
    "turned": "\u202egnorw si siht\u202c \u200b\ufeff",
    "stacked": "Z" + "\u0351\u0489" * 300,
    "surrogate": "\ud800 lone",
}


def account_of(*, stocks=20, errors=(), regions=REGIONS):
    """An account. Of each region's stocks half are completed, two failed, one has no data, one is retrying, and the rest are pending."""
    account = Account(RUN)
    for code, name in regions.items():
        account.task("scraping", {"task_id": f"scrape:{RUN}:{code}:1-2", "region_code": code, "region_name": name})
        if code != "jp":
            account.completion("scraping", {"task_id": f"scrape:{RUN}:{code}:1-2", "region_code": code, "status": "completed"})
        for number in range(stocks):
            task = {"task_id": f"process:{RUN}:{code}{number}", "symbol": f"{code}{number}", "country_code": code}
            account.task("processing", task)
            if number < stocks // 2:
                account.completion("processing", {**task, "status": "completed", "ratios_calculated": 5})
            elif number < stocks // 2 + 2:
                account.error("processing", {**task, "status": "failed", "error_type": "PermanentError", "error": "HTTP 400", "attempt": 1})
            elif number == stocks // 2 + 2:
                account.completion("processing", {**task, "status": "no_data", "reason": "gone"})
            elif number == stocks // 2 + 3:
                account.error("processing", {**task, "status": "retrying", "error_type": "TransientError", "error": "500", "attempt": 2})
    for text in errors:
        named = {"task_id": f"process:{RUN}:{text}", "country_code": "us", "status": "failed", "error_type": text, "error": text}
        account.errors.append({"stage": "processing", "attempt": text, **named})
    return account


GROUPS = (GroupLag("stock-scrapers", 0, 2, FINE), GroupLag("stock-processors", 1234, 2, STALLED))


def view_of(account, **more):
    full = {"elapsed_seconds": 83.0, "groups": GROUPS, "throttle": "1 process slowed down to 4.0/s: the site answered 429"}
    return MonitorView(account=account, scraping_rate=0.5, processing_rate=12.5, **{**full, **more})


def picture(view, width=80, height=24, **options):
    """The drawn lines without trailing blanks."""
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, _environ={}, **options)
    drawing = draw(view, width, height)
    # Not through Screen, which would cut what is too much.
    console.print(drawing, end="")
    sent = console.file.getvalue()
    shown = re.sub(r"\x1b\[[0-9;]*m", "", sent)
    assert "\x1b" not in shown, "only colours may be sent"
    lines = shown.rstrip("\n").split("\n")
    assert len(lines) <= height
    assert max(map(cell_len, lines)) <= width
    with_screen = console.render_lines(Screen(drawing), console.options.update(width=width, height=height))
    assert len(with_screen) == height
    return [line.rstrip() for line in lines]


def test_five_regions_and_errors_fill_a_window_of_80_by_24():
    lines = picture(view_of(account_of()))
    assert len(lines) == 24
    assert lines[0] == f"run {RUN}  1:23  us, fr, gb, de, jp"
    assert lines[1] == "under way"
    assert re.fullmatch(r"scraping    80 % ━+─+ +4/5    0.5/s  left 0:02", lines[3])
    # 35 of 100 are pending: 12.5 a second, and more may come as long as Japan is being scraped.
    assert re.fullmatch(r"processing  65 % ━+─+ +65/100   12.5/s  left 0:03\+", lines[4])
    assert lines[5].split() == ["sent", "completed", "split", "no", "data", "failed", "retrying", "pending"]
    assert lines[6].split() == ["scraping", "5", "4", "0", "-", "0", "0", "1"]
    assert lines[7].split() == ["processing", "100", "50", "-", "5", "10", "5", "35"]
    assert [line[:18].rstrip() for line in lines[9:14]] == [f"{code:<4}{name}" for code, name in REGIONS.items()]
    assert re.fullmatch(r"jp  Japan +65 % ━+─+ +13/20  scraping 1, 2 failed,…", lines[13])
    assert lines[15].split() == ["stock-scrapers", "lag", "0", "2", "members", "fine"]
    assert lines[16].startswith("stock-processors  lag 1234    2 members   stalled: members, but no commits")
    assert lines[17] == "throttle          1 process slowed down to 4.0/s: the site answered 429"
    assert lines[19] == "recent errors (15)"
    # The newest first: of the last region, the one that is tried again, then the two that failed.
    assert lines[20] == "retrying jp13        TransientError: 500 (attempt 2)"
    assert lines[21] == "failed   jp11        PermanentError: HTTP 400 (attempt 1)"


def test_a_wait_for_the_site_is_in_the_line():
    waits = "waiting 12 min until the site's allowance has room"
    assert view_line(view_of(account_of(), waits=waits)).endswith(f"  {waits}")
    assert "waiting" not in view_line(view_of(account_of()))


def test_a_wider_window_has_longer_bars_full_texts_and_more_errors():
    narrow, wide = picture(view_of(account_of())), picture(view_of(account_of()), 120, 40)
    assert wide[3].count("━") + wide[3].count("─") == narrow[3].count("━") + narrow[3].count("─") + 40
    assert any(line.endswith("scraping 1, 2 failed, 1 no data") for line in wide)
    assert sum(line.startswith(("failed ", "retrying ")) for line in wide) == 15
    assert sum(line.startswith(("failed ", "retrying ")) for line in narrow) == 4


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", HOSTILE)
def test_foreign_text_is_shown_as_plain_text(size, kind):
    text = HOSTILE[kind]
    account = account_of(errors=[text], regions={**REGIONS, text[:80]: text})
    lines = picture(view_of(account, throttle=text, page=text, problem=text), *size)
    assert [line for line in lines if line.startswith("failed ")], lines
    assert "stock-scrapers    lag 0       2 members   fine" in lines
    if kind == "markup":
        assert any("[bold red]gone[/]" in line for line in lines)
    picture(view_of(account, lost_seconds=12.0, problem=text), *size)
    picture(MonitorView(None, groups=(GroupLag(text, 5, 1, None),), lost_seconds=12.0, problem=text), *size)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 14), (40, 10), (20, 5), (1, 1)])
@pytest.mark.parametrize("regions", [0, 1, 5, 60])
def test_the_drawing_fits_every_window(size, regions):
    many = {f"{chr(97 + number // 26)}{chr(97 + number % 26)}": f"Region {number}" for number in range(regions)}
    picture(view_of(account_of(regions=many)), *size)


def test_regions_without_room_are_summed_up():
    many = {f"{chr(97 + number // 26)}{chr(97 + number % 26)}": f"Region {number}" for number in range(60)}
    lines = picture(view_of(account_of(regions=many)))
    shown = [line for line in lines if " Region " in line]
    # 13 of the 20 stocks of each have an end.
    rest = 60 - len(shown)
    assert f"and {rest} more regions: {13 * rest}/{20 * rest}" in lines
    assert sum(line.startswith(("failed ", "retrying ")) for line in lines) == 3
    assert lines[0].endswith("60 regions")


def test_fresh_and_abandoned_have_columns_if_they_occur_even_with_large_counts():
    account = account_of(stocks=2000)
    for state in ("fresh", "abandoned"):
        task = {"task_id": f"process:{RUN}:{state}", "symbol": state, "country_code": "us"}
        account.completion("processing", {**task, "status": state})
    heading, _, counts = picture(view_of(account))[5:8]
    assert "fresh abandoned retrying pending" in " ".join(heading.split())
    assert counts.split()[:2] == ["processing", "10002"]
    assert counts.split()[-1] == str(account.processing["pending"])


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (FINE, "fine"),
        (SLOW, "slow: it works, but falls behind"),
        (STALLED, "stalled: members, but no commits"),
        (STOPPED, "stopped: no consumer takes the records"),
        (REWOUND, "rewound: committed offsets went back"),
        (None, "too early to judge"),
    ],
)
def test_each_verdict_says_what_it_means(verdict, words):
    lines = picture(view_of(account_of(), groups=(GroupLag("stock-processors", 123456, 1, verdict),)))
    found = [line for line in lines if line.startswith("stock-processors")]
    assert len(found) == 1
    assert f"lag 123456  1 member    {words}" in found[0]


def test_a_lost_broker_is_shown_with_the_reason():
    lines = picture(view_of(account_of(), lost_seconds=12.4, problem="no broker at localhost:9092"))
    assert lines[1] == "broker not reachable for 12 s; trying again   no broker at localhost:9092"
    assert lines[3].startswith("scraping    80 %")


def test_a_missing_right_to_read_groups_is_not_a_lost_broker():
    lines = picture(view_of(account_of(), groups=(), problem="Kafka does not allow the user 'x' to do this"))
    assert lines[1] == "under way"
    assert "groups: Kafka does not allow the user 'x' to do this" in lines


def test_a_finished_run_says_so_and_what_failed():
    account = Account(RUN)
    account.completion("scraping", {"task_id": "s", "region_code": "fr", "region_name": "France", "status": "completed"})
    view = view_of(account, page="http://localhost:8080")
    assert picture(view)[1] == "done: nothing is pending   page: http://localhost:8080"
    account.error("processing", {"task_id": "p", "country_code": "fr", "status": "failed", "error_type": "X", "error": "y", "attempt": 1})
    assert picture(view)[1].startswith("done: nothing is pending; 1 failed, they are in the dead letters")


def test_the_screen_says_what_is_known_before_a_run_and_while_reading():
    assert picture(MonitorView(None, groups=GROUPS))[:2] == ["Waiting for a run…", "stock-scrapers    lag 0       2 members   fine"]
    assert picture(view_of(account_of(), reading=True))[1] == "reading the topics…"
    empty = picture(dataclasses.replace(view_of(Account(RUN)), scraping_rate=0.0, processing_rate=0.0))
    assert re.fullmatch(r"scraping     0 % ─+ +0/0    0.0/s", empty[3])


def test_without_colours_only_bold_and_dim_are_used():
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True, _environ={"NO_COLOR": "1", "TERM": "xterm-256color"})
    console.print(draw(view_of(account_of()), 80, 24))
    codes = {code for found in re.findall(r"\x1b\[([0-9;]*)m", console.file.getvalue()) for code in found.split(";")}
    assert codes <= {"0", "1", "2", ""}


def test_a_terminal_without_unicode_gets_ascii():
    console = Console(file=io.StringIO(), width=80, height=24, color_system=None)
    console.print(draw(view_of(account_of()), 80, 24, ascii_only=True))
    assert console.file.getvalue().isascii()
    assert "####" in console.file.getvalue()


def test_durations_are_written_as_on_a_clock():
    assert [seconds_text(seconds) for seconds in (0, 9.4, 59.6, 754, 3723)] == ["0:00", "0:09", "1:00", "12:34", "1:02:03"]


def test_a_large_run_is_drawn_in_a_fraction_of_a_second():
    view = view_of(account_of(stocks=20_000))
    started = time.process_time()
    draw(view, 80, 24)
    assert time.process_time() - started < 1.0  # of 100,000 tasks; 0.05 s as a rule
