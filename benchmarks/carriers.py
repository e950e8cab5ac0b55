"""What Kafka and PostgreSQL carry if they have nothing else to do. It shows that they are not the limit."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.stand import Stand
from pipeline.broker import clients
from pipeline.broker.patient import partitions_of
from pipeline.broker.sender import Message
from pipeline.errors import NoData
from pipeline.ratios.rows import RatioRow, ratio_rows
from pipeline.storage import database, schema
from pipeline.storage.rows import Profile, Write, write
from pipeline.storage.run_table import Run
from pipeline.wire import messages, topics
from pipeline.wire.messages import ProcessingTask
from pipeline.yahoo import fetch, session

#: Messages sent before the acknowledgements are waited for.
_CHUNK = 5_000
#: How many stocks' ratios are written, and how many of them in one transaction. The writer does the same under load.
_SAMPLE = 60
_BATCH = 20


def broker_messages_per_second(stand: Stand, count: int) -> float:
    """Processing tasks that one process sends, acknowledged, and then reads back, divided by the time for both."""
    run_id = messages.new_run_id()
    tasks = [ProcessingTask(run_id, f"S{number}", "Some Company Limited", "us") for number in range(count)]
    batch = [Message(topics.PROCESSING_TASKS, task.key, messages.pending(task)) for task in tasks]
    reader = clients.reader(stand.settings.kafka)
    partitions = partitions_of(reader, [topics.PROCESSING_TASKS])
    reader.assign(partitions)
    reader.seek_to_beginning(*partitions)
    began = time.monotonic()
    for start in range(0, count, _CHUNK):
        stand.producer.send_all(batch[start : start + _CHUNK])
    read = 0
    while read < count:
        read += sum(len(records) for records in reader.poll(200).values())
    seconds = time.monotonic() - began
    reader.close()
    return count / seconds


def rows_per_second(stand: Stand, seconds: float) -> float:
    """Rows of `financial_ratios` that one connection upserts in a second, in the pipeline's own transactions."""
    samples = _samples(stand)
    connection = database.connect(stand.settings.database)
    schema.create_tables(connection)
    run_id = messages.new_run_id()
    # Other symbols each time, so that rows are inserted as well as updated.
    written, turn = 0, 0
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        for start in range(0, len(samples), _BATCH):
            batch = [_write(run_id, f"{symbol}{turn % 10}", rows) for symbol, rows in samples[start : start + _BATCH]]
            write(connection, batch)
            written += sum(len(one.ratios) for one in batch)
        turn += 1
    rate = written / (time.monotonic() - began)
    connection.close()
    return rate


def _write(run_id: str, symbol: str, rows: list[RatioRow]) -> Write:
    ratios = [
        (run_id, RatioRow(symbol, *(getattr(row, name) for name in RatioRow.__dataclass_fields__ if name != "symbol"))) for row in rows
    ]
    profile = Profile(symbol, "Some Company Limited", "us", "NMS", "Industrials", "Tools", "USD", "USD")
    return Write(countries={"us": "United States"}, profiles=[profile], ratios=ratios, runs=[Run(run_id, ("us",))])


def _samples(stand: Stand) -> list[tuple[str, list[RatioRow]]]:
    found = []
    with tempfile.TemporaryDirectory(prefix="stocks-rows-") as cache:
        session.setup(stand.settings.yahoo_base_url, Path(cache), today=stand.settings.today)
        for company in stand.companies()[:_SAMPLE]:
            try:
                found.append((company["symbol"], ratio_rows(fetch.fetch(company["symbol"]))))
            except NoData:
                continue
    return found
