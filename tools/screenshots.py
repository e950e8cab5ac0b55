"""Makes docs/screenshots: runs a demo of its own, opens each view in a headless browser, and writes what it shows.

python -m tools.screenshots [FOLDER]
"""

from __future__ import annotations

if __name__ == "__main__":
    import pipeline.process.early  # noqa: F401  (first: Ctrl+C while the rest is imported ends it without a traceback)

# isort: split
import base64
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

import config
from local.postgres_place import remove_data
from local.state import data_dir
from pipeline.errors import ServiceError
from pipeline.process.arguments import Parser
from pipeline.process.script import run_script
from pipeline.screener.binaries import find_browser

FOLDER = config.PROJECT / "docs" / "screenshots"
#: A market that is slow enough to be seen at work, and fails often enough for some dead letters.
MARKET = ("--stocks", "300", "--seed", "1", "--latency-ms", "40", "--page-latency-ms", "200", "--faults", "http500=0.04")
WIDE, PHONE = (1280, 860), (390, 780)
#: Seconds for a demo to start, to be at work, and to be done.
START_SECONDS, WORK_SECONDS, RUN_SECONDS = 60.0, 120.0, 400.0

#: file → address, and what to wait for; `{stock}` is the first stock of the table.
VIEWS = {
    "stocks": ("stocks?region=fr&range=net_margin:0:&sort=price_to_earnings", "[data-testid=stocks-table]"),
    "stock": ("{stock}", "[data-testid=ratio-chart] .point"),
    "scatter": ("scatter?x=return_on_equity&y=price_to_book", "[data-testid=scatter-chart] .points path"),
    "distribution": ("distribution?ratio=price_to_earnings&by=sector", "[data-testid=distribution-chart] .box"),
    "kafka": ("kafka", "[data-testid=groups-table]"),
    "messages": ("kafka/topics/stock-processing-tasks", "[data-testid=messages-table]"),
    "dead-letters": ("dead-letters", "[data-testid=dead-letters-table]"),
}


def main() -> int:
    parser = Parser(__doc__, prog="python -m tools.screenshots")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, metavar="FOLDER", help="default: docs/screenshots")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="screenshots-", ignore_cleanup_errors=True) as home,
        _demo(Path(home)) as url,
        _browser() as driver,
    ):
        camera = Camera(driver, url, folder)
        camera.open("", WIDE, "light")
        _until(lambda: 25 <= camera.percent() <= 90, WORK_SECONDS, "the run at work")
        camera.take("pipeline", "", WIDE, "light", loaded=True)
        camera.take("pipeline-phone", "", PHONE, "dark", wait="#live-regions table")
        camera.open("", WIDE, "light")
        _until(
            lambda: bool(driver.find_elements("css selector", "#live-state :is(.state-completed, .state-failed)")),
            RUN_SECONDS,
            "the end of the run",
        )
        for name, (address, wait) in VIEWS.items():
            if "{stock}" in address:
                link = driver.find_element("css selector", "[data-testid=stocks-table] tbody th a").get_attribute("href")
                address = str(link).removeprefix(url + "/")
            camera.take(name, address, WIDE, "light", wait)
        camera.take("stocks-phone", VIEWS["stocks"][0], PHONE, "light", VIEWS["stocks"][1])
        camera.take("scatter-dark", VIEWS["scatter"][0], WIDE, "dark", VIEWS["scatter"][1])
    return config.EXIT_DONE


class Camera:
    """A browser that writes what it shows."""

    def __init__(self, driver: Any, url: str, folder: Path) -> None:
        self._driver = driver
        self._url = url
        self._folder = folder

    def open(self, address: str, size: tuple[int, int], scheme: str) -> None:
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        self._driver.get(f"{self._url}/{address}")

    def percent(self) -> int:
        found = self._driver.execute_script("return document.querySelector('[data-testid=progress-processing]')?.dataset.percent")
        return int(found or 0)

    def take(self, name: str, address: str, size: tuple[int, int], scheme: str, wait: str = "main", loaded: bool = False) -> None:
        """Write NAME.png; what is on the screen already where `loaded`."""
        if not loaded:
            self.open(address, size, scheme)
        _until(lambda: bool(self._driver.find_elements("css selector", wait)), 30.0, wait)
        time.sleep(0.6)  # for the fonts and the last movements of a chart
        picture = self._driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
        file = self._folder / f"{name}.png"
        file.write_bytes(base64.b64decode(picture))
        print(f"{file} ({file.stat().st_size // 1024} KB)", flush=True)


@contextlib.contextmanager
def _demo(home: Path) -> Iterator[str]:
    """A demo and its page, apart from whatever else is up; the page's address."""
    environ = {**os.environ, "PIPELINE_HOME": str(home), "MAX_ATTEMPTS": "2"}
    with _removing(data_dir(config.state_dir(True, environ))), _script(["run_pipeline.py", "--demo", *MARKET], environ, home / "run.log"):
        _until(lambda: bool(config.embedded_services(config.state_dir(True, environ))), START_SECONDS, f"the demo (see {home})")
        log = home / "page.log"
        with _script(["kafka_ui.py", "--demo", "--port", "0"], environ, log):
            _until(lambda: "page: " in log.read_text(), START_SECONDS, "the page")
            found = re.search(r"page: (http://\S+)", log.read_text())
            assert found is not None
            yield found[1]


@contextlib.contextmanager
def _removing(data: Path) -> Iterator[None]:
    """As root a database's data is not where its state is, so it would stay when that goes."""
    try:
        yield
    finally:
        remove_data(data)


@contextlib.contextmanager
def _script(command: list[str], environ: dict[str, str], log_file: Path) -> Iterator[None]:
    """A script of this project, stopped at the end."""
    with open(log_file, "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=config.PROJECT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _browser() -> Iterator[Any]:
    binaries = find_browser(os.environ.get("SCRAPER_BROWSER"), os.environ.get("SCRAPER_DRIVER"))
    options = Options()
    if binaries.browser:
        options.binary_location = binaries.browser
    for argument in ("--headless=new", "--hide-scrollbars", "--disable-background-networking", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    if sys.platform == "linux" and os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    driver = webdriver.Chrome(options=options, service=Service(binaries.driver) if binaries.driver else Service())
    try:
        yield driver
    finally:
        driver.quit()


def _until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ServiceError(f"{what}: did not appear within {seconds:.0f} s")
        time.sleep(0.2)


if __name__ == "__main__":
    run_script(main)
