"""`run_pipeline.py --check`: tries everything a run needs. Prints what works, and what to do about what does not."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import config
from config import Settings
from launch.bands import Converter
from launch.services import Services, Step
from pipeline.errors import LayoutChanged, PipelineError, ServiceError
from pipeline.process import discovery
from pipeline.process.arguments import asked_band
from pipeline.screener.browser import Browser
from pipeline.screener.endpoint import ApiScreener
from pipeline.screener.page import PagedScreener
from pipeline.screener.source import Source
from pipeline.storage import database, schema
from pipeline.wire.bands import band_text, rate_text
from pipeline.wire.currencies import REGION_CURRENCIES
from pipeline.wire.market_cap import parse_band
from pipeline.wire.regions import RegionBand
from pipeline.wire.text import one_line
from pipeline.yahoo import fetch, session, throttle_text
from pipeline.yahoo.learned import Learned

#: The region that is listed as a trial: both the site and the local market have it.
REGION = "fr"
#: Longest line of a step, in characters.
LONGEST_LINE = 1_000


def check(settings: Settings, market_options: list[str]) -> int:
    """Print one line per step. Returns exit code 0 if all steps work, else 3."""
    checked = Check(settings, market_options)
    steps = checked.steps()
    try:
        for step in steps:
            checked.said.clear()
            mark, text = _tried(step)
            print(f"  {mark:<5} {step.name:<11} {one_line('; '.join([*checked.said, text]), LONGEST_LINE)}", flush=True)
    finally:
        checked.close()
    failures = sum(not step.works for step in steps)
    print("everything a run needs works" if not failures else f"{failures} of {len(steps)} steps do not work yet", flush=True)
    return config.EXIT_SERVICE if failures else config.EXIT_DONE


def _tried(step: Step) -> tuple[str, str]:
    """The mark and the text of the step's line."""
    missing = [need.name for need in step.needs if not need.works]
    if missing:
        return "--", f"not tried: it needs {missing[0]}, which does not work yet"
    try:
        text = step.do()
    except (PipelineError, config.SettingsError) as error:
        return "FAIL", str(error)
    except Exception as error:  # one broken step must not hide the others
        return "FAIL", f"{type(error).__name__}: {error}"
    step.works = True
    return "ok", text


class Check:
    """The steps, in the order in which a run needs them. Later steps use what earlier ones found."""

    def __init__(self, settings: Settings, market_options: list[str]) -> None:
        #: What the services said while they were started. It belongs in the same line as what was found.
        self.said: list[str] = []
        self.services = Services(settings, settings.log_dir / "check", self.said.append, market_options)
        self.browser: Browser | None = None
        self.symbol = ""
        self._band: RegionBand | None = None

    def steps(self) -> list[Step]:
        site, kafka, postgres = self.services.steps(join_running=True)
        topics = Step("topics", self._topics, (kafka,))
        tables = Step("tables", self._tables, (postgres,))
        first = [site, kafka, postgres, topics, tables, Step("rates", self._convert, (site,))]
        last = [Step("one symbol", self._one_symbol, (site,)), Step("allowance", self._allowance)]
        if self.settings.scraper_source == "api":
            return [*first, Step("one list", self._list, (site,)), *last]
        browser = Step("browser", self._start_browser)
        return [*first, browser, Step("one page", self._page, (site, browser)), *last]

    def close(self) -> None:
        if self.browser is not None:
            self.browser.close()
        self.services.stop()

    @property
    def settings(self) -> Settings:
        return self.services.settings

    def _topics(self) -> str:
        discovery.ensure_topics(self.settings)
        return "all there"

    def _tables(self) -> str:
        with database.connected(self.settings.database) as connection:
            schema.create_tables(connection)
        return "all there"

    def _convert(self) -> str:
        """The trial's band as a producer converts it, with the rates of all regions in the same request."""
        asked = asked_band(self.settings, REGION, None, None, None)
        (self._band,) = Converter(self.settings).bands([asked])
        own = f"{band_text(*self._band[1:3])} {REGION_CURRENCIES[REGION]}"
        wanted = self._band.wanted
        return f"{wanted} = {own} at {rate_text(wanted.rate)} of {wanted.rate_day}" if wanted else f"none needed for {own}"

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
        # Without a rate, the bare bounds are good enough to try the list.
        bounds = self._band[1:3] if self._band else parse_band(self.settings.market_cap_min, self.settings.market_cap_max)
        listed = source.open(REGION, *bounds, self.services.log_dir)
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
