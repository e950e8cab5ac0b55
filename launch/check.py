"""`run_pipeline.py --check`: tries everything a run needs. Prints what works, and what to do about what does not."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import config
from config import Settings
from launch.services import Services
from pipeline.errors import LayoutChanged, PipelineError, ServiceError
from pipeline.process import discovery
from pipeline.screener.browser import Browser
from pipeline.screener.endpoint import ApiScreener
from pipeline.screener.page import PagedScreener
from pipeline.screener.source import Source
from pipeline.storage import database, schema
from pipeline.wire.market_cap import parse_band
from pipeline.wire.text import one_line
from pipeline.yahoo import fetch, session, throttle_text
from pipeline.yahoo.learned import Learned

#: The region that is listed as a trial: both the site and the local market have it.
REGION = "fr"
#: Longest line of a step, in characters.
LONGEST_LINE = 1_000


class _Skipped(Exception):
    """The step was not tried, because a step that it needs has failed."""


def check(settings: Settings, market_options: list[str]) -> int:
    """Print one line per step. Returns exit code 0 if all steps work, else 3."""
    said: list[str] = []
    checked = Check(settings, market_options, said.append)
    failures = 0
    try:
        for name, step in checked.steps():
            said.clear()
            mark = "ok"
            try:
                text = step() or "; ".join(line.removeprefix(f"{name}: ") for line in said)
            except _Skipped as error:
                mark, text = "--", f"not tried: {error}"
            except (PipelineError, config.SettingsError) as error:
                mark, text = "FAIL", str(error)
            except Exception as error:  # one broken step must not hide the others
                mark, text = "FAIL", f"{type(error).__name__}: {error}"
            failures += mark != "ok"
            print(f"  {mark:<5} {name:<11} {one_line(text, LONGEST_LINE)}", flush=True)
    finally:
        checked.close()
    print("everything a run needs works" if not failures else f"{failures} of {len(checked.steps())} steps do not work yet", flush=True)
    return config.EXIT_SERVICE if failures else config.EXIT_DONE


class Check:
    """The steps, in the order in which a run needs them. Later steps use what earlier ones found."""

    def __init__(self, settings: Settings, market_options: list[str], say: Callable[[str], None]) -> None:
        self.services = Services(settings, settings.log_dir / "check", market_options)
        self.say = say
        self.browser: Browser | None = None
        self.symbol = ""
        self.works: set[str] = set()

    def steps(self) -> list[tuple[str, Callable[[], str | None]]]:
        found = [(name, self._noting(name, step)) for name, step in self.services.steps(self.say)]
        return [
            *found,
            ("topics", self._noting("topics", self._topics, "Kafka")),
            ("tables", self._noting("tables", self._tables, "PostgreSQL")),
            *self._listing_steps(),
            ("one symbol", self._noting("one symbol", self._one_symbol, "site")),
            ("allowance", self._noting("allowance", self._allowance)),
        ]

    def _listing_steps(self) -> list[tuple[str, Callable[[], str | None]]]:
        if self.settings.scraper_source == "api":
            return [("one list", self._noting("one list", self._list, "site"))]
        return [
            ("browser", self._noting("browser", self._start_browser)),
            ("one page", self._noting("one page", self._page, "site", "browser")),
        ]

    def close(self) -> None:
        if self.browser is not None:
            self.browser.close()
        self.services.stop()

    def _noting(self, name: str, step: Callable[[], str | None], *needs: str) -> Callable[[], str | None]:
        def run() -> str | None:
            missing = [need for need in needs if need not in self.works]
            if missing:
                raise _Skipped(f"it needs {missing[0]}, which does not work yet")
            detail = step()
            self.works.add(name)
            return detail or ("answers" if name == "site" and not self.services.settings.demo else None)

        return run

    @property
    def settings(self) -> Settings:
        return self.services.settings

    def _topics(self) -> str:
        discovery.ensure_topics(self.settings)
        return "all there"

    def _tables(self) -> str:
        connection = database.connect(self.settings.database)
        schema.create_tables(connection)
        connection.close()
        return "all there"

    def _start_browser(self) -> str:
        self.browser = Browser(
            self.settings.scraper_browser,
            self.settings.scraper_driver,
            self.settings.scraper_headless,
            user_agent=self.settings.scraper_user_agent,
        )
        self.browser.start()
        capabilities = self.browser.driver.capabilities
        return f"{capabilities.get('browserName')} {capabilities.get('browserVersion')}"

    def _page(self) -> str:
        assert self.browser is not None
        page = PagedScreener(self.browser, self.settings.yahoo_base_url)
        if self.settings.scraper_source == "auto":
            with self._endpoint() as endpoint:
                source = Source(page, self.browser, endpoint)
                found = self._listed(source)
            return found if source.uses_page else f"{found} by the endpoint: the page has changed (see {self.services.log_dir})"
        try:
            return self._listed(Source(page, self.browser, None))
        except LayoutChanged as error:
            raise LayoutChanged(f"{error}. SCRAPER_SOURCE=api lists stocks without the page") from error

    def _list(self) -> str:
        with self._endpoint() as endpoint:
            return self._listed(Source(None, None, endpoint))

    @contextlib.contextmanager
    def _endpoint(self) -> Iterator[ApiScreener]:
        with tempfile.TemporaryDirectory() as cache:
            session.setup(self.settings.yahoo_base_url, Path(cache), today=self.settings.today)
            yield ApiScreener()

    def _listed(self, source: Source) -> str:
        band = parse_band(self.settings.market_cap_min, self.settings.market_cap_max)
        listed = source.open(REGION, *band, self.services.log_dir)
        for page in listed.pages():
            self.symbol = page[0].symbol
            break
        return f"{listed.total} stocks of region {REGION} listed"

    def _allowance(self) -> str:
        return throttle_text.learned(Learned(self.settings).load(), self.settings.requests_per_second)

    def _one_symbol(self) -> str:
        if not self.symbol and self.settings.yahoo_base_url:
            raise ServiceError("no symbol to fetch: the page listed no stocks")
        symbol = self.symbol or "AAPL"
        with tempfile.TemporaryDirectory() as cache:
            session.setup(self.settings.yahoo_base_url, Path(cache), today=self.settings.today)
            found = fetch.fetch(symbol)
        return f"{symbol}: {found.name}"
