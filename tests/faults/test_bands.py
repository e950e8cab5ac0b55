"""A region that lists too much is cut into bands until each fits: none lost, none doubled, with stocks on the cuts."""

import config
from local.market.companies import build_market
from pipeline.runs.account_reader import Tally
from pipeline.wire.market_cap import cut_of
from tests.conftest import until
from tests.e2e.conftest import rows

STOCKS = 3000
LIMIT = 500


def test_a_wide_region_is_split_and_no_stock_is_lost_or_doubled(terminal):
    market = build_market(STOCKS, 1)
    # A band whose first cut falls exactly on a company: its lower bound is half of that company's value, its upper twice.
    us = sorted((company for company in market.companies if company.region == "us"), key=lambda company: company.market_cap)
    middle = next(company for company in us[len(us) // 3 :] if company.market_cap % 2 == 0)
    low, high = int(middle.market_cap) // 2, int(middle.market_cap) * 2
    assert cut_of(low, high) == middle.market_cap
    held = {company.symbol for company in market.in_band("us", low, high)}
    assert len(held) > LIMIT

    holder = terminal.start("run_pipeline.py", "--demo", "--services", "--stocks", str(STOCKS))
    until(lambda: terminal.demo_is_up() or holder.poll() is not None, 150, "the services")
    for _ in range(2):
        terminal.start("kafka_scraper_consumer.py", "--demo")
    bounds = ["--market-cap-min", str(low), "--market-cap-max", str(high)]
    assert terminal.run("kafka_scraper_producer.py", "--demo", "--regions", "us", *bounds).returncode == 0
    tally = Tally(config.load(True, terminal.environment()).kafka)

    def done():
        tally.poll()
        account = tally.newest()
        return account and account.scraping["completed"] and not account.scraping["pending"] and account

    account = until(done, 200, "the end of the scraping")
    tally.read_to_now()
    assert account.scraping["split"] >= 1
    assert account.scraping["failed"] == 0
    assert account.scraping["completed"] == account.scraping["split"] + 1
    assert {task_id.split(":", 2)[2] for task_id in account.processing.tasks} == held
    # The stock on the cut is in both halves, and one task.
    assert sum(task.count for task in account.scraping.tasks.values()) > len(held)
    assert all(task.count <= LIMIT for task in account.scraping.tasks.values())
    tally.close()
    connection = terminal.database()
    assert {symbol for (symbol,) in rows(connection, "SELECT symbol FROM stock")} == held
    connection.close()
