"""What lists the stocks of a scraping task: the screener's page, the endpoint behind it, or the page while it can be read.

If the page has changed, the first task that opens it fails with one error that says what is missing. The page and its network
log are kept. Such an error is permanent: no retries.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from selenium.common.exceptions import WebDriverException

from pipeline.errors import BrowserLost, LayoutChanged
from pipeline.screener.answers import Listing
from pipeline.screener.browser import Browser
from pipeline.screener.harvest import RegionList
from pipeline.screener.page import PagedScreener

log = logging.getLogger(__name__)

#: The longest account of what is missing, in characters: behind it the error has to have room for the path.
_ACCOUNT_LIMIT = 650


class Lists(Protocol):
    """One way to list stocks: PagedScreener or ApiScreener."""

    def open(self, region_code: str, market_cap_min: int, market_cap_max: int) -> RegionList: ...


class StockList(Protocol):
    """The stocks of one region and band (pipeline/screener/harvest.py, RegionList)."""

    @property
    def source(self) -> str: ...

    @property
    def total(self) -> int: ...

    @property
    def missing(self) -> int: ...

    @property
    def skipped(self) -> Mapping[str, int]: ...

    def pages(self) -> Iterator[list[Listing]]: ...


class Source:
    """The page (`page`), the endpoint (`api`), or with both the page first. The latter falls back for good, and says so."""

    def __init__(self, page: Lists | None, browser: Browser | None, api: Lists | None) -> None:
        if page is None and api is None:
            raise ValueError("neither a page nor an endpoint to list by")
        self._page = page
        self._browser = browser
        self._api = api

    @property
    def uses_page(self) -> bool:
        return self._page is not None

    def open(self, region_code: str, market_cap_min: int, market_cap_max: int, folder: Path) -> StockList:
        """The list of a region's stocks of a band. A page that has changed is kept under `folder`.

        Raises as PagedScreener and ApiScreener do; going through the list's `pages` does so too.
        """
        task = (region_code, market_cap_min, market_cap_max)
        if self._page is None:
            return self._by_api(*task)
        try:
            return _Watched(self._page.open(*task), lambda error: self._fall_back_from(error, task, folder))
        except LayoutChanged as error:
            return self._fall_back_from(error, task, folder)

    def do_without_page(self, reason: str) -> None:
        """List by the endpoint from here on."""
        log.warning("the stocks are listed by the endpoint behind the screener's page from here on: %s", reason)
        self._page = None
        if self._browser is not None:
            self._browser.close()

    def _by_api(self, region_code: str, market_cap_min: int, market_cap_max: int) -> RegionList:
        if self._api is None:
            raise ValueError("no endpoint to list by")
        return self._api.open(region_code, market_cap_min, market_cap_max)

    def _fall_back_from(self, error: LayoutChanged, task: tuple[str, int, int], folder: Path) -> RegionList:
        """Keep the page, then go on by the endpoint. Raises LayoutChanged if there is none."""
        told = LayoutChanged(f"{str(error)[:_ACCOUNT_LIMIT]}. {self._keep_page(folder / f'changed-page-{task[0]}')}")
        if self._api is None:
            raise told from error
        self.do_without_page(str(told))
        return self._by_api(*task)

    def _keep_page(self, path: Path) -> str:
        """Save a picture and the HTML of the page, and its network log. Returns a sentence that says where."""
        if self._browser is None:
            return "No browser, no page to keep"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(self._page, PagedScreener):
                network = json.dumps(self._page.network.summary(), indent=1)
                path.with_suffix(".network.json").write_text(network, encoding="utf-8")
            with self._browser.guard():
                path.with_suffix(".html").write_text(self._browser.driver.page_source, encoding="utf-8", errors="replace")
                path.with_suffix(".png").write_bytes(self._browser.driver.get_screenshot_as_png())
        except (WebDriverException, BrowserLost, OSError) as problem:
            return f"The page could not be kept ({type(problem).__name__})"
        return f"The page as it was: {path}.html, .png and .network.json"


class _Watched:
    """A list by the page. If the page changes halfway, the endpoint's whole list follows, so some stocks come twice."""

    def __init__(self, found: RegionList, fall_back: Callable[[LayoutChanged], RegionList]) -> None:
        self._found = found
        self._fall_back = fall_back

    @property
    def source(self) -> str:
        return self._found.source

    @property
    def total(self) -> int:
        return self._found.total

    @property
    def missing(self) -> int:
        return self._found.missing

    @property
    def skipped(self) -> Mapping[str, int]:
        return self._found.skipped

    def pages(self) -> Iterator[list[Listing]]:
        try:
            yield from self._found.pages()
        except LayoutChanged as error:
            self._found = self._fall_back(error)
            yield from self._found.pages()
