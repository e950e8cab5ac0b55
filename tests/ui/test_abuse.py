"""The page under abuse: whatever clients send, and however often, it goes on answering others, and never with 500."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import os
import random
import re
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from pipeline.broker import clients
from pipeline.storage import database
from pipeline.wire import messages, topics
from tests.conftest import PROJECT, until
from tests.ui.conftest import RUN, Producer, RunningPage, environment, page_process

REQUESTS = int(os.environ.get("PAGE_REQUESTS", "400"))
SEED = int(os.environ.get("PAGE_SEED", "1"))
#: Invalid values of the fields of addresses, for every view that has such a field.
WRONG = {
    "/": ["run=x", "run=-", "run=20261301T000000Z-0000", "run=" + "9" * 5000, "run=%00"],
    "/events": ["run=x", "run=20261101T000000Z-000g"],
    "/kafka/topics/stock-processing-tasks": [
        *("partition=-1", "partition=%2B1", "partition=1.5", "partition=%D9%A1", "partition=" + "9" * 30, "partition=99"),
        *("offset=5", "partition=0&offset=-1", "partition=0&offset=x", "before=x", "before=0", "before=0:", "before=:1", "before=0:1:2"),
        *("before=-0:1", "before=,", "key=" + "k" * 1001),
    ],
    "/dead-letters": [
        *("stage=x", "stage=-processing", "run=x", "region=-fr", "region=FRA", "replayed=2", "replayed=-1", "put_back=-1", "put_back=x"),
        *("symbol=" + "s" * 201, "error_type=" + "s" * 201),
    ],
    "/stocks": [
        *("period=-ttm", "period=-latest", "period=daily", "period=%2Bttm", "sort=--symbol", "sort=-", "sort=-password", "sort=%2Bname"),
        *(
            "page=-1",
            "page=0",
            "page=1e3",
            "page=" + "9" * 30,
            "column=-market_cap",
            "column=x",
            "region=-fr",
            "region=xx",
            "sector=-Energy",
        ),
        *("sector=x", "range=-market_cap:1:2", "range=x", "range=market_cap:1e999:", "range=market_cap:-:", "q=" + "q" * 201),
        *("where=-", "where=x+%3D+1", "&".join(["range=market_cap:1:2"] * 21)),
    ],
    "/stocks.csv": ["period=-ttm", "sort=--symbol", "region=-fr", "sector=x", "range=x", "where=%00", "column=x", "page=x"],
    "/stocks/M001": ["ratio=x", "ratio=-market_cap", "ratio=%00"],
    "/scatter": ["x=x", "x=-market_cap", "y=-", "y=%2Bmarket_cap", "period=-ttm", "region=xx", "range=x"],
    "/distribution": ["by=-region", "by=x", "ratio=-market_cap", "period=-annual", "sector=x"],
}


@pytest.mark.parametrize("view", WRONG)
def test_an_unknown_value_of_a_field_is_400_with_what_is_expected(page: RunningPage, view: str) -> None:
    for asked in WRONG[view]:
        answer = page.ask(f"{view}?{asked}")
        assert answer.status == 400, (view, asked[:80])
        assert len(answer.body) > 20


def random_address(chance: random.Random) -> str:
    words = [
        *(
            "",
            "-",
            "+",
            "0",
            "-1",
            "1",
            "99999999999999999999",
            "1e309",
            "nan",
            "x",
            "fr",
            "-fr",
            "Energy",
            "ttm",
            "-ttm",
            "market_cap",
            "-symbol",
        ),
        *("\0", "\n", "é", "\u202e", "\ud800", "%", "%s", "'", '"', "<script>", "../..", "a:b:c", "0:1", "market_cap:1:2", RUN, "x" * 3000),
        *("price_to_earnings < 15", "sector = 'Energy' and", "((((", "processing", "scraping", "region", "sector", "\U0001f4c8"),
    ]
    names = [
        *("run", "partition", "offset", "before", "key", "stage", "region", "symbol", "error_type", "replayed", "put_back", "q", "sector"),
        *("range", "where", "period", "sort", "page", "column", "ratio", "min", "max", "x", "y", "by", "", "\0", "unknown"),
    ]

    def escaped(text: str) -> str:
        return quote(text.encode("utf-8", "surrogatepass"), safe=chance.choice(("", "/:")))

    odd = [f"{way}{escaped(chance.choice(words))}" for way in ("/", "/stocks/", "/kafka/topics/", "/static/")]
    path = chance.choice([*WRONG, *odd, "/kafka", "/static/page.css", "/dead-letters/replay", "//", "/stocks/"])
    pairs = [f"{escaped(chance.choice(names))}={escaped(chance.choice(words))}" for _ in range(chance.randrange(4))]
    return path + (f"?{'&'.join(pairs)}" if pairs else "")


def test_random_requests_never_cause_a_500(page: RunningPage) -> None:
    def ask(number: int) -> tuple[int, str]:
        chance = random.Random(SEED * 1_000_000 + number)
        address = random_address(chance)
        # Events never end, so only their beginning can be checked.
        method = "HEAD" if address.startswith("/events") else chance.choice(["GET", "GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "NONE"])
        body = None if method in ("GET", "HEAD") else "&".join(f"{chance.choice('abc')}={chance.random()}" for _ in range(3))
        headers = {"Origin": page.url.rstrip("/")} if chance.random() < 0.5 else {}
        return page.ask(address, method, body, **headers).status, f"{method} {address}"

    with concurrent.futures.ThreadPoolExecutor(4) as several:
        answers = list(several.map(ask, range(REQUESTS)))
    failures = [address for status, address in answers if status >= 500 and status != 503]
    assert not failures, failures[:5]
    assert page.errors.read_text() == ""


def test_bytes_that_are_not_http_are_refused_silently(page: RunningPage) -> None:
    chance = random.Random(SEED)
    starts = [
        b"",
        b"GET ",
        b"GET / HTTP/1.1\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"\x16\x03\x01",
    ]
    for number in range(60):
        with socket.create_connection(("127.0.0.1", page.port), 5) as client, contextlib.suppress(ConnectionError):
            client.sendall(starts[number % len(starts)] + chance.randbytes(200))
            client.shutdown(socket.SHUT_WR)
            answer = client.recv(1000)
            assert not answer or answer.split()[1] != b"500", answer
    assert page.ask("/").status == 200
    assert page.errors.read_text() == ""


@pytest.mark.parametrize("view", ["/", "/events", "/stocks.csv", "/kafka"])
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_other_sites_may_only_link_here(page: RunningPage, view: str, site: str) -> None:
    for mode, dest in (("no-cors", "image"), ("cors", "empty"), ("navigate", "iframe"), ("no-cors", "script")):
        assert page.ask(view, Sec_Fetch_Site=site, Sec_Fetch_Mode=mode, Sec_Fetch_Dest=dest).status == 403
    if view != "/events":
        assert page.ask(view, Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document").status == 200


def connections_of(page: RunningPage) -> int:
    """How many sockets the page's process has open."""
    found = 0
    for path in Path(f"/proc/{page.process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found += os.readlink(path).startswith("socket:")
    return found


class Live:
    """A client of the events that keeps its connection."""

    def __init__(self, page: RunningPage, query: str = "") -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=60)
        self.connection.request("GET", f"/events{query}", headers={"Host": f"localhost:{page.port}"})
        self.answer = self.connection.getresponse()

    def text(self) -> str:
        """The next event."""
        while True:
            line = self.answer.readline().decode()
            if line.startswith("data: "):
                return line

    def close(self) -> None:
        self.answer.close()
        self.connection.close()


@pytest.fixture
def open_views() -> Iterator[list[Live]]:
    found: list[Live] = []
    yield found
    for one in found:
        one.close()


def test_runs_that_are_in_no_topic_get_no_reader(page: RunningPage, open_views: list[Live]) -> None:
    with Producer(page.kafka, messages.new_run_id()) as producer:
        producer.scraping("fr", "France")
        until(lambda: producer.run_id in page.ask("/").text, 20, "the run on the page")
    before = connections_of(page)
    made_up = [f"20250101T0000{number:02d}Z-dead" for number in range(24)]
    for run in made_up:
        assert page.ask(f"/?run={run}").status == 404
        open_views.append(Live(page, f"?run={run}"))
        assert "The topics hold nothing of run" in open_views[-1].text()
    assert connections_of(page) <= before + len(made_up) + 4, "each is one connection of a client, and none to the broker"


def test_too_many_older_runs_are_refused_and_displace_none(page: RunningPage, open_views: list[Live]) -> None:
    runs = [f"20260101T00000{number}Z-{number:04x}" for number in range(6)]
    for run in [*runs, messages.new_run_id()]:
        with Producer(page.kafka, run) as producer:
            producer.scraping("fr", "France")
    until(lambda: all(run in page.ask("/").text for run in runs), 20, "the runs on the page")

    def looked_at(run: str) -> bool:
        one = Live(page, f"?run={run}")
        if one.answer.status == 200:
            open_views.append(one)
        else:
            assert one.answer.status == 503
            assert "older runs are open" in one.answer.read().decode()
            assert one.answer.headers["retry-after"]
            one.close()
        return one.answer.status == 200

    # Runs that earlier tests opened may still be followed.
    until(lambda: looked_at(runs[0]), 20, "a place")
    followed = [runs[0], *(run for run in runs[1:] if looked_at(run))]
    assert len(followed) <= 4
    assert len(followed) < len(runs)
    for one, run in zip(open_views, followed, strict=True):
        until(lambda one=one, run=run: f"run <code>{run}" in one.text(), 20, f"{run} on its own view")


def test_a_topic_of_large_messages_is_shown_within_bounds(page: RunningPage) -> None:
    topic = topics.SCRAPING_ERRORS
    with Producer(page.kafka, messages.new_run_id()) as producer:
        for number in range(60):
            text = f"{number} " + random.Random(number).randbytes(450_000).hex()
            producer.send(topic, f"{number}" * 2000, f'"{text}"'.encode(), {f"h{one}" * 50: "x" * 3000 for one in range(5)})
    started = time.monotonic()
    answer = page.ask(f"/kafka/topics/{topic}")
    assert answer.status == 200
    assert time.monotonic() - started < 45
    assert "Reading stopped after" in answer.text
    assert len(answer.body) < 2_000_000


def stalled(page: RunningPage, request: bytes) -> socket.socket:
    """A connection that sends this and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", page.port))
    client.sendall(request)
    return client


KINDS = {
    "downloads": b"GET /stocks.csv HTTP/1.1\r\nHost: localhost:%d\r\n\r\n",
    "live views": b"GET /events HTTP/1.1\r\nHost: localhost:%d\r\n\r\n",
    "nothing": b"",
    "half a request": b"GET / HTTP/1.1\r\nHost: localhost:%d\r\nX-More: ",
    "half a form": b"POST /dead-letters/replay HTTP/1.1\r\nHost: localhost:%d\r\n"
    b"Origin: http://localhost:%d\r\nContent-Length: 9\r\n\r\na=",
    "stocks": b"GET /stocks HTTP/1.1\r\nHost: localhost:%d\r\n\r\n",
}


def test_200_stalled_connections_delay_nobody(many, own_broker, tmp_path: Path) -> None:
    """Clients of each kind. The page answers others within three times its idle time, and has few connections to PostgreSQL."""
    clients.quiet()

    def quickest(page: RunningPage) -> float:
        took = []
        for _ in range(5):
            started = time.monotonic()
            assert page.ask("/stocks?region=fr").status == 200
            took.append(time.monotonic() - started)
        return min(took)

    watching = database.connect(many)
    watching.autocommit = True
    try:
        with page_process(tmp_path, environment(own_broker, many)) as page, watching.cursor() as cursor:
            idle = quickest(page)
            for kind, text in KINDS.items():
                request = text.replace(b"%d", str(page.port).encode())
                open_ = [stalled(page, request) for _ in range(200)]
                try:
                    until(lambda: page.ask("/stocks?region=fr").status == 200, 30, f"an answer beside 200 {kind}")
                    busy = quickest(page)
                    cursor.execute(
                        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                    )
                    (count,) = cursor.fetchone()
                finally:
                    for client in open_:
                        client.close()
                print(
                    f"{kind}: {busy * 1000:.0f} ms beside 200 (idle {idle * 1000:.0f}), {count} connections of PostgreSQL", file=sys.stderr
                )
                assert count < 10, kind
                assert busy < max(3 * idle, 0.1), kind
    finally:
        watching.close()


#: The page with shorter time limits, so that the test is quick.
QUICK = f"""
import runpy, sys
sys.path.insert(0, {str(PROJECT)!r})
from ui import connections
connections.REQUEST_SECONDS = connections.STALLED_SECONDS = 1.0
connections.MOST_CONNECTIONS = 20
runpy.run_path({str(PROJECT / "kafka_ui.py")!r}, run_name="__main__")
"""


def test_slow_connections_are_limited_and_closed(many, own_broker, tmp_path: Path) -> None:
    program = tmp_path / "quick_page.py"
    program.write_text(QUICK)
    with page_process(tmp_path, environment(own_broker, many), program=str(program)) as page:
        for kind, text in KINDS.items():
            if kind in ("live views", "stocks"):
                continue  # they are answered, and the system's buffers hold what they do not read
            with stalled(page, text.replace(b"%d", str(page.port).encode())) as client:
                client.settimeout(60)
                started = time.monotonic()
                if kind == "downloads":
                    time.sleep(3)  # the client is slow: that is the test
                with contextlib.suppress(ConnectionError):
                    while client.recv(65536):
                        pass
                assert time.monotonic() - started < 60, kind
        open_ = [stalled(page, b"") for _ in range(100)]
        assert page.ask("/stocks").status == 200
        assert connections_of(page) < 60
        for client in open_:
            client.close()
        until(lambda: page.ask("/stocks.csv").status == 200, 20, "a place for a download")
        body = page.ask("/stocks.csv").body
        assert len(re.findall(rb"\r\n", body)) == 20_001
