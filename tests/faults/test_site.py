"""The site answers with errors, late, with rubbish, or not at all."""

from __future__ import annotations

import pytest

from tests.faults.conftest import Run, check_account, note


@pytest.mark.parametrize(
    "faults",
    ["http500=0.1", "rate_limit=0.004", "bad_json=0.05,drop=0.05,gone_once=0.05", "hang=0.01"],
)
def test_an_api_with_faults_costs_time_and_nothing_else(terminal, check, faults):
    # Three requests a stock at 10 % each: five attempts would fail by chance once in a few hundred stocks.
    run = Run(terminal, "--faults", faults, "--latency-ms", "20", "--scrapers", "1", MAX_ATTEMPTS="10")
    summary = run.end()
    run.hits = run.tried_again()
    assert run.hits
    check(run, summary, terminal.home)


# Rates of page loads, and of tables for the first. What is drawn follows from the market's seed: each hits within five regions.
@pytest.mark.parametrize("faults", ["page_error=0.15,blocked_page=0.2", "page_never_settles=0.5", "endless_script=0.2"])
def test_a_page_with_faults_costs_time_and_nothing_else(terminal, check, faults):
    run = Run(terminal, "--faults", faults, "--processors", "1", MAX_ATTEMPTS="10")
    summary = run.end()
    run.hits = run.tried_again()
    assert run.hits
    check(run, summary, terminal.home)


def test_a_changed_layout_is_one_clear_error_per_region_and_not_0_stocks(terminal, request):
    run = Run(terminal, "--faults", "changed_layout=1", "--regions", "us,fr")
    summary = run.end(expected_code=1)
    check_account(summary, failed=2)
    assert summary["scraping"] == {"sent": 2, "completed": 0, "split": 0, "failed": 2, "pending": 0}
    said = terminal.errors(run.process)
    assert "LayoutChanged" in said
    note(request, "a changed layout", 2, summary["elapsed_seconds"])
