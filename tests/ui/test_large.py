"""20,000 stocks, each with five rows: the first request of each view is quick."""

from __future__ import annotations

import re
import time
from pathlib import Path

from tests.ui.conftest import environment, page_process

VIEWS = (
    *("/stocks", "/stocks?region=fr&sort=price_to_earnings", "/stocks?where=price_to_earnings+%3C+0.2&sort=-altman_z"),
    *("/stocks?period=annual&sort=net_margin&page=1000", "/stocks?q=made-up+777", "/stocks/S777", "/scatter", "/distribution?by=sector"),
)


def test_20_000_stocks_are_shown_quickly(many, own_broker, tmp_path):
    with page_process(tmp_path, environment(own_broker, many)) as page:
        assert "20,000" in page.ask("/stocks").text
        slowest = 0.0
        for view in VIEWS:
            best = 9.0
            for _ in range(5):  # the machine may be busy with something else at one moment
                started = time.monotonic()
                assert page.ask(view).status == 200, view
                best = min(best, time.monotonic() - started)
            slowest = max(slowest, best)
        assert slowest < 3.0  # best of five, and still several times what a machine that does nothing else takes
        exported = page.ask("/stocks.csv").body
        assert exported.count(b"\r\n") == 20_001
        status = Path(f"/proc/{page.process.pid}/status").read_text()
        assert int(re.search(r"VmHWM:\s*(\d+)", status)[1]) < 200_000  # KiB
