"""The plain program that the pipeline is compared with: one step after the other, as one writes it in an afternoon.

Scrape a region, insert its stocks, read them back, and go through them one by one by yfinance's public calls. Nothing in
it waits without need: one browser for all pages, one script call a page, one connection, one transaction per stock. Its
browser and page code are the pipeline's own, so the difference is none of theirs.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yfinance
from psycopg2.extras import execute_values

from config import Settings
from launch.bands import Converter
from pipeline.process.arguments import asked_band
from pipeline.screener.browser import Browser
from pipeline.screener.page import PagedScreener
from pipeline.storage import database
from pipeline.yahoo import session

_TABLES = """
CREATE TABLE plain_stock (symbol text PRIMARY KEY, name text);
CREATE TABLE plain_ratios (symbol text, period_end date, price_to_earnings double precision, price_to_book double precision,
    net_margin double precision, return_on_equity double precision, current_ratio double precision, debt_to_equity double precision,
    PRIMARY KEY (symbol, period_end));
"""


@dataclass
class Sequential:
    """Seconds per stock that the program needs for scraping (with insert and read-back) and for processing."""

    scraping_seconds_per_stock: float
    processing_seconds_per_stock: float
    requests_per_stock: float

    @property
    def per_second(self) -> float:
        return 1.0 / (self.scraping_seconds_per_stock + self.processing_seconds_per_stock)

    @property
    def processing_per_second(self) -> float:
        return 1.0 / self.processing_seconds_per_stock


def run(settings: Settings, region: str, sample: int, count_requests: Any) -> Sequential:
    """Scrape the whole region, process the first `sample` of its stocks. `count_requests()` is the market's count so far."""
    connection = database.connect(settings.database)
    with connection, connection.cursor() as cursor:
        cursor.execute(_TABLES)
    began = time.monotonic()
    stocks = scrape(settings, region)
    with connection, connection.cursor() as cursor:
        execute_values(cursor, "INSERT INTO plain_stock VALUES %s ON CONFLICT DO NOTHING", stocks)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT symbol FROM plain_stock ORDER BY symbol")
        symbols = [symbol for (symbol,) in cursor.fetchall()]
    scraped = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stocks-plain-") as cache:
        session.setup(settings.yahoo_base_url, Path(cache), today=settings.today)  # leads yfinance to the market
        process(connection, symbols[0])  # cookie and crumb
        requests, processing = count_requests(), time.monotonic()
        for symbol in symbols[1 : sample + 1]:
            process(connection, symbol)
        ended = time.monotonic()
    connection.close()
    return Sequential((scraped - began) / len(symbols), (ended - processing) / sample, (count_requests() - requests) / sample)


def scrape(settings: Settings, region: str) -> list[tuple[str, str]]:
    """Symbol and name of all stocks of the region within the band."""
    browser = Browser(settings.scraper_browser, settings.scraper_driver, settings.scraper_headless, user_agent=settings.scraper_user_agent)
    browser.start()
    try:
        screener = PagedScreener(browser, settings.yahoo_base_url)
        (band,) = Converter(settings).bands([asked_band(settings, region, None, None, None)])
        found = screener.open(region, band.market_cap_min, band.market_cap_max)
        return [(row.symbol, row.name) for page in found.pages() for row in page]
    finally:
        browser.close()


def process(connection: Any, symbol: str) -> None:
    """Fetch one stock's info and three statements, compute a few ratios per year, insert them."""
    ticker = yfinance.Ticker(symbol)
    try:
        info, income, balance, cash = ticker.info, ticker.income_stmt, ticker.balance_sheet, ticker.cashflow
    except Exception as error:
        print(f"{symbol}: {error}")
        return
    if income.empty or balance.empty or cash.empty:
        return
    rows = []
    for day in income.columns.intersection(balance.columns):
        flows, stand = income[day], balance[day]
        profit, equity = flows.get("Net Income"), stand.get("Stockholders Equity")
        values = (
            _divided(info.get("marketCap"), profit),
            _divided(info.get("marketCap"), equity),
            _divided(profit, flows.get("Total Revenue")),
            _divided(profit, equity),
            _divided(stand.get("Current Assets"), stand.get("Current Liabilities")),
            _divided(stand.get("Total Debt"), equity),
        )
        rows.append((symbol, day.date(), *values))
    with connection, connection.cursor() as cursor:
        execute_values(cursor, "INSERT INTO plain_ratios VALUES %s ON CONFLICT DO NOTHING", rows)


def _divided(one: Any, other: Any) -> float | None:
    return float(one) / float(other) if one is not None and other is not None and float(other) else None
