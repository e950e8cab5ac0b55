"""The browser: found, started, killed in every way, and never left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from selenium.common.exceptions import WebDriverException

from pipeline.errors import BrowserLost, ServiceError
from pipeline.screener.binaries import find_browser, usable_browser
from pipeline.screener.browser import Browser
from tests.conftest import until
from tests.screener.conftest import PROJECT, line_within

PAGE = "data:text/html,<h1>here</h1>"
OWNER = """
import sys, signal
from pipeline.screener.browser import Browser
browser = Browser()
def stop(*_):
    browser.close()
    sys.exit(0)
if sys.argv[1] == "closes":
    signal.signal(signal.SIGTERM, stop)
browser.start()
print(browser.process_group, browser.folder, flush=True)
signal.pause()
"""


def alive(group: int) -> list[psutil.Process]:
    """Living processes of a process group."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def works(browser: Browser) -> bool:
    browser.load(PAGE)
    return browser.execute("return document.body.textContent") == "here"


def kill_browser(browser: Browser) -> None:
    assert browser.process_group is not None
    for process in alive(browser.process_group):
        if process.pid != browser.process_group:
            process.kill()


def kill_driver(browser: Browser) -> None:
    assert browser.process_group is not None
    os.kill(browser.process_group, signal.SIGKILL)


def crash_tab(browser: Browser) -> None:
    with pytest.raises((BrowserLost, WebDriverException)):
        browser.load("chrome://crash")


@pytest.mark.parametrize("accident", [kill_browser, kill_driver, crash_tab])
def test_a_dead_browser_is_replaced_at_the_next_use(accident: object) -> None:
    assert callable(accident)
    with Browser() as browser:
        assert works(browser)
        group, folder = browser.process_group, browser.folder
        assert group is not None
        assert folder is not None
        try:
            accident(browser)
        finally:
            if browser.process_group == group:
                with pytest.raises(BrowserLost):
                    works(browser)
        assert not folder.exists()
        until(lambda: not alive(group), what="the old processes are gone")
        assert works(browser)


def test_an_endless_script_is_noticed_within_the_time_limit() -> None:
    with Browser(script_timeout_seconds=3) as browser:
        assert works(browser)
        group = browser.process_group
        assert group is not None
        started = time.monotonic()
        with pytest.raises(BrowserLost):
            browser.execute("for (;;);")
        assert time.monotonic() - started < 25, "the limit is 3 s; the driver's own is 30 s"
        until(lambda: not alive(group), what="the old processes are gone")
        assert works(browser)


@pytest.mark.parametrize(("owner", "number"), [("closes", signal.SIGTERM), ("ignorant", signal.SIGTERM), ("ignorant", signal.SIGKILL)])
def test_no_process_is_left_of_a_browser_whose_owner_is_killed(owner: str, number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER, owner], cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        words = line_within(process, 30).split()
        group, folder = int(words[0]), Path(words[1])
        assert len(alive(group)) > 3
        assert folder.exists()
        process.send_signal(number)
        process.wait(60)
    until(lambda: not alive(group) and not folder.exists(), what="processes and profile are gone")


def test_a_driver_whose_port_is_taken_is_started_again(tmp_path: Path) -> None:
    started = tmp_path / "started"
    with Browser() as browser:
        real = usable_browser().driver
    driver = tmp_path / "driver"
    driver.write_text(
        f'#!/bin/sh\n[ -e {started} ] && exec {real} "$@"\ntouch {started}\necho "IPv4 port not available. Exiting..."\nexit 1\n'
    )
    driver.chmod(0o755)
    with Browser(driver_path=str(driver)) as browser:
        assert works(browser)
    assert started.exists()


def test_close_leaves_no_process_and_the_browser_can_be_used_again() -> None:
    browser = Browser()
    try:
        for _ in range(2):
            assert works(browser)
            group, folder = browser.process_group, browser.folder
            assert group is not None
            assert folder is not None
            browser.close()
            assert not folder.exists()
            until(lambda group=group: not alive(group), what="the processes are gone")
    finally:
        browser.close()


def test_a_browser_is_replaced_after_a_number_of_pages() -> None:
    with Browser(renew_after_pages=2) as browser:
        assert works(browser)
        first = browser.process_group
        assert not browser.renew_if_due()
        assert works(browser)
        assert browser.renew_if_due()
        assert browser.pages_loaded == 0
        assert browser.process_group != first


def test_images_are_not_fetched(browser: Browser) -> None:
    asked = []
    loaded = threading.Event()

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path == "/loaded":
                loaded.set()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<img src=/image.png><script>onload = () => fetch('/loaded')</script>")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.load(f"http://127.0.0.1:{server.server_port}/page")
        assert loaded.wait(60)
        server.shutdown()
    assert "/page" in asked
    assert "/image.png" not in asked


def test_the_browser_opens_no_debugging_port(browser: Browser) -> None:
    assert works(browser)
    assert browser.process_group is not None
    for process in alive(browser.process_group):
        if process.pid != browser.process_group:  # the driver listens on loopback, under a port of its choice
            assert [found for found in process.net_connections() if found.status == psutil.CONN_LISTEN] == []


@pytest.mark.parametrize("setting", ["", "Someone/1.0"])
def test_the_user_agent_omits_headless_or_comes_from_the_setting(setting: str) -> None:
    with Browser(user_agent=setting) as browser:
        browser.load(PAGE)
        name, major = browser.execute("return navigator.userAgent"), browser.driver.capabilities["browserVersion"].partition(".")[0]
    if setting:
        assert name == setting
    else:
        assert f" Chrome/{major}.0.0.0 " in name
        assert "Headless" not in name


def test_page_errors_do_not_replace_the_browser(browser: Browser) -> None:
    assert works(browser)
    group = browser.process_group
    with pytest.raises(WebDriverException):
        browser.execute("throw new Error('of the page')")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(WebDriverException, match="ERR_CONNECTION_REFUSED"):
            browser.load(f"http://127.0.0.1:{unused.getsockname()[1]}/")
    assert works(browser)
    assert browser.process_group == group


def test_a_setting_that_names_no_file_is_reported_with_its_value(tmp_path: Path) -> None:
    plain = tmp_path / "chromium"
    plain.write_text("")
    for arguments, expected in (
        (("/nowhere/chromium", None), "SCRAPER_BROWSER is '/nowhere/chromium', which does not exist"),
        ((None, str(plain)), f"SCRAPER_DRIVER is '{plain}', which cannot be executed"),
        ((str(tmp_path), None), f"SCRAPER_BROWSER is '{tmp_path}', which is a folder"),
    ):
        with pytest.raises(ServiceError, match=expected):
            find_browser(*arguments)


def test_a_missing_browser_is_a_service_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SE_OFFLINE", "true")
    monkeypatch.setenv("SE_CACHE_PATH", str(tmp_path / "cache"))
    with Browser() as browser, pytest.raises(ServiceError, match=r"no browser found.*install Chromium.*SCRAPER_BROWSER and SCRAPER_DRIVER"):
        browser.start()


def test_a_driver_that_does_not_start_is_a_service_error(tmp_path: Path) -> None:
    broken = tmp_path / "chromedriver"
    broken.write_text("#!/bin/sh\necho cannot open display >&2\nexit 3\n")
    broken.chmod(0o755)
    with Browser(driver_path=str(broken)) as browser:
        with pytest.raises(ServiceError, match=r"does not start \(.*ended with 3.*cannot open display"):
            browser.start()
        assert browser.folder is None


def test_a_snap_stub_does_not_count_as_a_browser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stub = tmp_path / "chromium"
    stub.write_text('#!/bin/sh\nexec /snap/bin/chromium "$@"\n')
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("pipeline.screener.binaries._MAC_BROWSERS", ())
    assert find_browser().browser is None


def test_a_window_that_the_driver_has_lost_hold_of_is_a_lost_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    """It happens on pages with pop-ups and alerts, at a moment that can't be chosen; the window is gone for all commands then."""

    def detached(url: str) -> None:
        raise WebDriverException("aborted by navigation: Not attached to an active page")

    with Browser() as browser:
        monkeypatch.setattr(browser.driver, "get", detached)
        with pytest.raises(WebDriverException):
            browser.load(PAGE)  # one that answers is kept
        browser.driver.close()
        with pytest.raises(BrowserLost):
            browser.load(PAGE)
        assert works(browser)
