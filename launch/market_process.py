"""The demo's stand-in for Yahoo Finance, as a process."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import config
from pipeline.errors import ServiceError
from pipeline.process.guardian import Guardian
from pipeline.process.log_end import last_lines

#: Seconds until the local market must answer.
MARKET_SECONDS = 60.0


class MarketProcess:
    """The local market as a child of this process. It ends with `stop()`, or if this process is killed."""

    def __init__(self, process: subprocess.Popen[bytes], base_url: str, day: date, guardian: Guardian, duty: int) -> None:
        self.base_url = base_url
        #: The market's own day. A demo counts ages from it.
        self.day = day
        self._process = process
        self._guardian = guardian
        self._duty = duty

    @classmethod
    def start(cls, log_file: Path, options: list[str]) -> MarketProcess:
        """Start it on a free port with `options` of `python -m local.market`. Raises ServiceError."""
        log_file.parent.mkdir(parents=True, exist_ok=True)
        guardian = Guardian()
        with open(log_file, "wb") as log:
            process, duty = guardian.start(
                [sys.executable, "-m", "local.market", "--port", "0", *options], stdout=log, stderr=log, cwd=config.PROJECT
            )
        deadline = time.monotonic() + MARKET_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            for line in log_file.read_text(encoding="utf-8", errors="replace").splitlines():
                if ready := re.fullmatch(r"local market: (http://\S+) \(.* day (\d{4}-\d\d-\d\d)\)", line):
                    return cls(process, ready[1], date.fromisoformat(ready[2]), guardian, duty)
            time.sleep(0.05)
        code = process.poll()
        guardian.finish()
        process.wait()
        tail = last_lines(log_file)
        if code == config.EXIT_SETTINGS:
            # The last line says which of its options is wrong. run_pipeline.py calls one of them otherwise.
            problem = last_lines(log_file, 1).removeprefix("python -m local.market: ")
            raise config.SettingsError(problem.replace("argument --day:", "argument --market-day:"))
        raise ServiceError(f"the local market did not start; {log_file} ends with:\n{tail}")

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        self._guardian.finish()
        self._process.wait()
