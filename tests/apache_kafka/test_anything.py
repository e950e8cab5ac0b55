"""Anything at all in every topic of a short run: as on the embedded broker, but that this one checks what it is sent."""

from __future__ import annotations

import json
import random

from tests.faults.conftest import SEED, UNATTENDED
from tests.faults.test_anything import check_end, pollute, run_in

ROUNDS = 12


def test_a_short_run_survives_arbitrary_records_in_every_topic(live, kafka, start_market):
    site = start_market("--latency-ms", "100", "--page-latency-ms", "2000")
    process = live.start(*UNATTENDED, "--regions", "fr,gb", YAHOO_BASE_URL=site.base_url)
    pollute(kafka, run_in(kafka), random.Random(SEED), ROUNDS)
    code = process.wait(300)
    logs = "".join(path.read_text("utf-8", "replace") for path in live.terminal.home.glob("logs/*/*.log"))
    said = live.terminal.errors(process) + logs
    check_end(code, json.loads(live.terminal.output(process).splitlines()[-1]), said, 10)
