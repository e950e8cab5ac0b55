"""A run is recorded and served again: the same lists without the site, and no secret in any file."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.screener.browser import Browser
from pipeline.screener.endpoint import ApiScreener
from pipeline.screener.page import PagedScreener
from pipeline.yahoo import recording
from tests.screener.conftest import PROJECT, LocalMarket, line_within, listed

BAND = (300_000_000, 2_000_000_000)


@pytest.mark.parametrize("way", ["page", "endpoint"])
def test_a_recording_is_listed_without_the_site_and_contains_no_secret(
    way: str, browser: Browser, market: LocalMarket, yfinance_on: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lists(url: str) -> list[list[str]]:
        assert callable(yfinance_on)
        yfinance_on(url)
        source = PagedScreener(browser, url) if way == "page" else ApiScreener()
        return [listed(source.open(region, *BAND)) for region in ("us", "is")]

    monkeypatch.setenv(recording.FOLDER, str(tmp_path))
    with market.page(data="embedded"):
        expected = lists(market.url)
    monkeypatch.delenv(recording.FOLDER)
    assert expected == [market.symbols("us", *BAND), []]
    written = [path.read_text() for path in tmp_path.glob("*.json")]
    assert written
    for text in written:
        assert not re.search(r"crumb[^a-z]{1,8}[0-9a-f]{11}", text), text[:200]
        assert not re.search(r"[0-9a-f]{8}-\d+|d=local-", json.loads(text)["url"])
        assert "A3" not in text or "cookie" not in text.lower()
    process = subprocess.Popen(
        [sys.executable, "-m", "local.market", "--port", "0", "--replay", str(tmp_path)], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    try:
        address = re.search(r"http://\S+", line_within(process, 20))
        assert address is not None
        assert lists(address[0]) == expected
    finally:
        process.terminate()
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()


def test_secrets_are_removed_in_every_form() -> None:
    text = 'a?crumb=s3cret%2Fx&b "crumb":"s3cret" \\"crumb\\":\\"s3cret\\" <input name="csrfToken" value="s3cret">'
    assert "s3cret" not in recording._without(text, set())
    assert recording.redacted("https://u:p@query1.finance.yahoo.com/v1?crumb=s3cret&sessionId=s3cret&a=1") == (
        "https://query1.finance.yahoo.com/v1?crumb=-&sessionId=-&a=1"
    )
