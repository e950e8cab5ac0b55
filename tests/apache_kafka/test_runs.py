"""Several runs on the same topics: one that was given up for a newer one, and two at once."""

from __future__ import annotations

import json
import signal

from pipeline.broker.consumer_groups import GroupReader
from pipeline.runs.account_reader import Tally
from pipeline.storage import database
from tests.conftest import until
from tests.e2e.conftest import HIGH, LOW, last_json, rows
from tests.faults.conftest import check_account

NARROW = ("--scrapers", "1", "--processors", "1")


def in_bands(market, *codes):
    return [company for code in codes for company in market.in_dollars(code, LOW, HIGH)]


def test_a_new_run_abandons_older_unfinished_runs_without_doing_their_tasks(live, kafka, start_market, market, tables):
    live.settings["YAHOO_BASE_URL"] = start_market("--latency-ms", "400", "--page-latency-ms", "3000").base_url
    tally = Tally(kafka)
    # So many regions that some are left on the slowest machine.
    first = live.start("run_pipeline.py", *NARROW, "--regions", "fr,gb,de,us,it,es,ch,se,nl,pl", PROCESSOR_THREADS="1")

    def in_work():
        assert first.poll() is None, live.terminal.errors(first)
        tally.poll(50)
        account = tally.newest()
        return account if account and account.processing["completed"] and account.scraping["pending"] else None

    old = until(in_work, 180, "work").run_id
    first.send_signal(signal.SIGINT)
    assert first.wait(60) == 130, live.terminal.errors(first)
    assert tally.read_to_now()
    before = tally.newest().summary(0)
    assert before["processing"]["pending"]
    assert before["scraping"]["pending"]

    second = live.start("run_pipeline.py", *NARROW, "--regions", "jp")
    until(lambda: "the run is done" in live.terminal.output(second) or second.poll() is not None, 180, "the end of the second run")
    reader = GroupReader(kafka)
    until(lambda: all(state.lag == 0 for state in reader.read().values()) or second.poll() is not None, 180, "the tasks of the first run")
    reader.close()
    second.send_signal(signal.SIGINT)
    assert second.wait(60) == 0, live.terminal.errors(second)
    assert f"given up for this run: {old} " in live.terminal.output(second)

    after = json.loads(live.run("kafka_monitor.py", "--once", "--json", "--run", old).stdout)
    check_account(after)
    for stage in ("scraping", "processing"):
        # What was done before counts as such, and nothing of it was done since.
        assert after[stage] == {**before[stage], "abandoned": before[stage]["pending"], "pending": 0}
    newest = json.loads(live.run("kafka_monitor.py", "--once", "--json").stdout)
    check_account(newest)
    assert newest["processing"]["sent"] == len(in_bands(market, "jp"))
    assert "abandoned" not in newest["scraping"] | newest["processing"]
    tally.close()
    connection = database.connect(tables)
    found = rows(connection, "SELECT run_id, status FROM pipeline_run ORDER BY run_id")
    assert found == [(old, "abandoned"), (newest["run_id"], "completed")]
    symbols = rows(connection, "SELECT run_id, count(DISTINCT symbol) FROM financial_ratios GROUP BY run_id ORDER BY run_id")
    assert symbols == [(old, before["processing"]["completed"]), (newest["run_id"], newest["processing"]["completed"])]
    connection.close()


def test_two_simultaneous_runs_both_add_up(live, kafka, start_market, market, tables):
    """One region is in both: its stocks are asked for twice, and their rows are there once."""
    site = start_market("--latency-ms", "100", "--page-latency-ms", "500")
    command = ("run_pipeline.py", *NARROW, "--exit-when-done", "--json", "--keep-others")
    regions = [("fr", "gb"), ("gb", "de")]
    runs = [live.start(*command, "--regions", ",".join(codes), YAHOO_BASE_URL=site.base_url, PROCESSOR_THREADS="4") for codes in regions]
    for run in runs:
        assert run.wait(120) == 0, live.terminal.errors(run)
    summaries = [last_json(live.terminal.output(run)) for run in runs]
    for summary, codes in zip(summaries, regions, strict=True):
        check_account(summary)
        assert summary["scraping"]["sent"] == summary["scraping"]["completed"] == 2
        assert summary["processing"]["sent"] == len(in_bands(market, *codes))
        assert "abandoned" not in summary["scraping"] | summary["processing"]
    connection = database.connect(tables)
    status = "SELECT count(*), count(DISTINCT run_id), min(finished_at) > max(started_at), array_agg(DISTINCT status) FROM pipeline_run"
    assert rows(connection, status) == [(2, 2, True, ["completed"])]
    assert rows(connection, "SELECT count(*) FROM stock")[0][0] == len(in_bands(market, "fr", "gb", "de"))
    found = rows(connection, "SELECT count(*), count(DISTINCT run_id) FROM financial_ratios")
    assert 0 < found[0][0] < sum(summary["ratio_rows"] for summary in summaries)
    assert found[0][1] == 2
    connection.close()
