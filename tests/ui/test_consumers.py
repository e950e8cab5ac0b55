"""The pipeline view shows of the consumers what the monitor shows: lag with a verdict, and the throttle."""

from __future__ import annotations

import time

from pipeline.broker import clients, positions
from pipeline.wire import messages, topics
from pipeline.yahoo import shared_throttle
from tests.conftest import until
from tests.ui.conftest import Producer
from tests.yahoo.reports import REPORT


def lag_row(window, group):
    """The cells of a group's row: group, lag, members, verdict."""
    return next((cells for cells in map(_cells, window.texts('[data-testid="lag-table"] tbody tr')) if cells[0] == group), None)


def _cells(row):
    return [cell.strip() for cell in row.split("\t")]


def shows(window, group, lag, members, verdict):
    until(lambda: lag_row(window, group) == [group, lag, members, verdict], 60, f"{group}: {lag}, {members}, {verdict}")


def test_an_empty_group_is_shown_as_stopped_until_it_is_done(window, page):
    window.open(page.url + "/")
    window.complaints()  # of the page that was open before, whose server is gone
    window.run("window.same = true")
    shows(window, "stock-processors", "0", "0", "fine")
    with Producer(page.kafka, messages.new_run_id()) as producer:
        producer.processing([f"LAG{number}" for number in range(7)], "fr")
    shows(window, "stock-processors", "7", "0", "stopped: no consumer takes the records")
    consumer = clients.group_consumer(page.kafka, topics.PROCESSING.group, 100)
    try:
        consumer.subscribe([topics.PROCESSING_TASKS, topics.PROCESSING_RETRIES])
        found = []
        until(lambda: found.extend(consumer.poll(100).values()) or sum(map(len, found)) >= 7, 30, "the tasks")
        consumer.commit({partition: positions.position(consumer.position(partition)) for partition in consumer.assignment()})
        shows(window, "stock-processors", "0", "1", "fine")
    finally:
        clients.leave(consumer, page.kafka)
    assert window.run("return window.same") is True
    assert window.complaints() == []


def test_a_process_that_waits_for_the_site_is_shown(window, page):
    window.open(page.url + "/")

    def shown(text):
        until(lambda: text in window.text('[data-testid="throttle-state"]'), 30, text)

    shown("no process is asking the site")
    report = {**REPORT, "limits": [{"requests": 300.0, "seconds": 30.0, "confirmed": 1, "cap": 285.0, "left": 0}]}
    with Producer(page.kafka, messages.new_run_id()) as producer:
        producer.send(topics.CONTROL, "", shared_throttle.encode(report, time.time()))
        shown("waiting 4 s until the site's allowance has room; 1,234 answered, 5 refused, 9.5/s now; ")
        shown("about 36,000 allowed per hour (300 in 30 s)")
    shown("0.0/s now")  # its report expires
