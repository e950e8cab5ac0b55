"""A local market as a subprocess, on a port of its own."""

from __future__ import annotations

import contextlib
import json
import re
import select
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
READY_SECONDS = 20


class RunningMarket:
    """The base address of a market, and what tests steer it with."""

    def __init__(self, base: str, process: subprocess.Popen[str]) -> None:
        self.base = base
        self.process = process

    def get(self, path: str, headers: dict[str, str] | None = None) -> Any:
        with urllib.request.urlopen(urllib.request.Request(self.base + path, headers=headers or {}), timeout=60) as answer:
            return json.load(answer)

    def post(self, path: str, body: object) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.base + path, data=data, method="POST"), timeout=60) as answer:
            return json.load(answer)

    def faults(self, **rates: float) -> None:
        self.post("/market/faults", rates)


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[RunningMarket]:
    """Start a market with these arguments, wait for its line, and stop it afterwards."""
    command = [sys.executable, "-m", "local.market", "--port", "0", *arguments]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            readable, _, _ = select.select([process.stdout], [], [], READY_SECONDS)
            assert readable, "no line from the local market"
            line = process.stdout.readline()
            found = re.match(r"local market: (http://127\.0\.0\.1:\d+) \(", line)
            assert found, f"not the line of a market that is ready: {line!r}"
            yield RunningMarket(found[1], process)
        finally:
            process.terminate()
            process.wait(60)


@pytest.fixture(scope="session")
def shared_market() -> Iterator[RunningMarket]:
    with running() as market:
        yield market


@pytest.fixture
def market_server(shared_market: RunningMarket) -> Iterator[RunningMarket]:
    """The session's market, without faults before and after."""
    shared_market.faults()
    yield shared_market
    shared_market.faults()
