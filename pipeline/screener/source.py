"""What lists the stocks of a scraping task: the screener's page, the endpoint behind it, or the page while it can be read.

Opening the page is the canary: where it is no longer the one that this code knows, the first task says so in one error,
with what is missing, the selectors tried, and the page itself kept for a look. Such an error is permanent: no retries.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from selenium.common.exceptions import WebDriverException

from pipeline.errors import BrowserLost, LayoutChanged
from pipeline.screener.answers import Listing
from pipeline.screener.browser import Browser

log = logging.getLogger(__name__)

#: The longest account of what is missing, in characters: behind it the error has to have room for the path.
_ACCOUNT_LIMIT = 700


class Lists(Protocol):
    """One way to list stocks: Screener or ApiScreener."""

    def open(self, region_code: str, market_cap_min: int, market_cap_max: int) -> int: ...

    def pages(self, tolerate_missing: bool = False) -> Iterator[list[Listing]]: ...


class Source:
    """The page (`page`), the endpoint (`api`), or with both the page first. The latter falls back for good, and says so."""

    def __init__(self, page: Lists | None, browser: Browser | None, api: Lists | None) -> None:
        assert page is not None or api is not None
        self._page = page
        self._browser = browser
        self._api = api
        self._task = ("", 0, 0)
        self._folder = Path()

    @property
    def name(self) -> str:
        """`browser` or `api`: what lists, as a completion says it."""
        return "browser" if self._page is not None else "api"

    def open(self, region_code: str, market_cap_min: int, market_cap_max: int, folder: Path) -> int:
        """How many stocks there are. Where the page has changed, it is kept under `folder`. Raises as Screener and ApiScreener do."""
        self._task, self._folder = (region_code, market_cap_min, market_cap_max), folder
        if self._page is not None:
            try:
                return self._page.open(*self._task)
            except LayoutChanged as error:
                self._fall_back_from(error)
        return self._open_api()

    def pages(self) -> Iterator[list[Listing]]:
        """The listings. After a fall-back in mid-way those that were there before come again."""
        if self._page is not None:
            try:
                yield from self._page.pages()
                return
            except LayoutChanged as error:
                self._fall_back_from(error)
            self._open_api()
        assert self._api is not None
        yield from self._api.pages()

    def do_without_page(self, reason: str) -> None:
        """List by the endpoint from here on."""
        assert self._api is not None
        log.warning("the stocks are listed by the endpoint behind the screener's page from here on: %s", reason)
        self._page = None
        if self._browser is not None:
            self._browser.close()

    def _open_api(self) -> int:
        assert self._api is not None
        return self._api.open(*self._task)

    def _fall_back_from(self, error: LayoutChanged) -> None:
        """Keep the page, then go on by the endpoint. Raises LayoutChanged where there is none."""
        told = LayoutChanged(f"{str(error)[:_ACCOUNT_LIMIT]}. {self._keep_page()}")
        if self._api is None:
            raise told from error
        self.do_without_page(str(told))

    def _keep_page(self) -> str:
        """Save what the browser shows as a picture and as HTML; says where."""
        if self._browser is None:
            return "No browser, no page to keep"
        path = self._folder / f"changed-page-{self._task[0]}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._browser.guard():
                path.with_suffix(".html").write_text(self._browser.driver.page_source, encoding="utf-8", errors="replace")
                path.with_suffix(".png").write_bytes(self._browser.driver.get_screenshot_as_png())
        except (WebDriverException, BrowserLost, OSError) as problem:
            return f"The page could not be kept ({type(problem).__name__})"
        return f"The page as it was: {path}.html and .png"
