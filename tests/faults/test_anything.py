"""Anything at all in every topic, in the midst of a run: it ends, its account closes, and nothing but letters and counts remains."""

from __future__ import annotations

import json
import random
import string
from typing import Any

from kafka import KafkaProducer

import config
from config import Kafka
from pipeline.broker import clients
from pipeline.runs.account_reader import Tally
from pipeline.wire import messages, results, topics
from pipeline.wire.messages import ProcessingTask, ScrapingTask
from tests.broker.batches import put, with_header_name
from tests.conftest import until
from tests.faults.conftest import SEED, UNATTENDED, Run

COMMAND = (*UNATTENDED, "--demo", "--stocks", "100", "--latency-ms", "100", "--page-latency-ms", "200")
ROUNDS = 40

ODD = [
    None,
    True,
    -1,
    0,
    10**40,
    1.5,
    -1e300,
    "",
    " ",
    "²",
    "1e9",
    "x" * 100_000,
    "a\x00b",
    "\ud800",
    "\x1b[2J\x1b]0;x\x07",
    "line\r\nline\u2028line",
    "\u202eabc",
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "'; DROP TABLE stock;--",
    "../../x",
    [],
    [[[[]]]],
    {},
    {"a": {"b": None}},
    "99991231T235959Z-ffff",
    "20260230T000000Z-0000",
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59",
]


class Anything:
    def __init__(self, run_id: str, chance: random.Random) -> None:
        self.run_id = run_id
        self.chance = chance

    def kinds(self) -> list[bytes]:
        """A message of each type, some of the run and some of another one."""
        run_id = self.chance.choice([self.run_id, messages.new_run_id()])
        symbol = "Z" + "".join(self.chance.choices(string.ascii_uppercase, k=6))
        stock, region = (
            ProcessingTask(run_id, symbol, "Made Up", "us"),
            ScrapingTask(run_id, "fr", "France", 10**17, 10**17 + self.chance.randrange(10**6)),
        )
        found = [messages.pending(stock), messages.pending(region)]
        for task in (stock, region):
            found += [messages.error_message(task, "x", "Y", 1, final) for final in (True, False)]
        done = [results.Computed(3), results.Nothing("gone"), results.Untouched("fresh")]
        found += [results.completion(stock, one) for one in done]
        return [*found, results.completion(region, results.Listed(5)), results.completion(region, results.Untouched("abandoned"))]

    def spoilt(self, raw: bytes) -> bytes:
        """With some fields missing, absurd or hostile."""
        fields = json.loads(raw)
        for name in self.chance.sample(sorted(fields), self.chance.randrange(1, 4)):
            if self.chance.random() < 0.2:
                del fields[name]
            else:
                fields[name] = self.chance.choice(ODD)
        if self.chance.random() < 0.3:
            fields["children"] = self.chance.choice([ODD, ["x"], "x", [None]])
            fields["status"] = self.chance.choice(["split", "retrying", "failed", "nothing"])
        return json.dumps(fields).encode("utf-8", "surrogatepass")

    def value(self) -> bytes | None:
        chosen = self.chance.randrange(4)
        if chosen == 0:
            return self.chance.choice([None, b"", self.chance.randbytes(self.chance.randrange(1, 3000)), b"[" * 9000, b'{"run_id": 1e999}'])
        if chosen == 1:
            return json.dumps(self.chance.choice(ODD)).encode("utf-8", "surrogatepass")
        return self.spoilt(self.chance.choice(self.kinds()))

    def headers(self) -> list[tuple[str, bytes]]:
        names = [
            "attempt",
            "not-before",
            "error-type",
            "error-message",
            "original-topic",
            "original-partition",
            "cuts",
            "replay-of",
            "\x1b[2J",
        ]
        values = [b"", b"9" * 300, "²".encode(), b"-1", b"1e5", b"\xff\xfe", self.chance.randbytes(20), b"5"]
        return [(self.chance.choice(names), self.chance.choice(values)) for _ in range(self.chance.randrange(4))]


def pollute(settings: Kafka, run_id: str, chance: random.Random, rounds: int) -> None:
    """Send anything at all into every topic, so many times, in every codec; twice a record that no client can read."""
    anything = Anything(run_id, chance)
    producer = KafkaProducer(**clients.common(settings), enable_idempotence=False, max_request_size=10**8)
    for turn in range(rounds):
        for topic in topics.ALL:
            if turn in (0, rounds // 2):  # the first ones at once: the run is there to read them
                put(settings, topic, 0, with_header_name([b"any"], b"\xff\xfe\xfd\xfc"))
            key, value = chance.choice([None, b"", b"k", b"\xff" * 50, b"x" * 5_000]), anything.value()
            producer.config["compression_type"] = chance.choice([0, 1, 3, 4, 2])
            # The client sends no record with neither key nor value.
            key = b"" if key is None and value is None else key
            producer.send(topic, value, key=key, headers=anything.headers(), timestamp_ms=chance.choice([None, 0, 1]))
        producer.flush(120)
    producer.close()


def run_in(settings: Kafka) -> str:
    """The run_id of the run in these topics, once there is one."""
    tally = Tally(settings)
    try:
        until(lambda: tally.poll() >= 0 and tally.newest() is not None, 150, "the run")
        return tally.newest().run_id
    finally:
        tally.close()


def check_end(code: int, summary: dict[str, Any], said: str, least: int) -> None:
    assert code in (0, 1), said
    assert [summary[stage]["pending"] for stage in ("scraping", "processing")] == [0, 0], summary
    assert summary["processing"]["completed"] >= least, summary
    assert summary["unreadable"] >= 1
    assert "Traceback" not in said


def test_a_run_survives_arbitrary_records_in_every_topic(terminal):
    run = Run(terminal, command=COMMAND)
    until(lambda: run.shows("logs:"), 150, "the start")
    settings = config.load(True, terminal.environment()).kafka
    pollute(settings, run_in(settings), random.Random(SEED), ROUNDS)
    run.hit(ROUNDS * len(topics.ALL))
    code = run.process.wait(300)
    said = terminal.errors(run.process) + run.logs()
    check_end(code, json.loads(terminal.output(run.process).splitlines()[-1]), said, 60)
    for path in terminal.home.glob("logs/*/*.log"):
        if path.stem not in ("broker", "postgres"):  # these write their own
            assert b"\x1b" not in path.read_bytes(), path
