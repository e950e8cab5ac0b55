"""One headless Chromium with its driver, which never outlives its owner and is replaced when it dies.

Chromium's processes survive a Python that is killed, and a dead or hanging browser shows in many shapes (a crashed tab,
an unknown session, a refused or an endless HTTP call to the driver). This module turns all of them into one error,
BrowserLost, raised after the process group is killed and the profile is gone, so that the next use starts a new one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    InvalidElementStateException,
    JavascriptException,
    MoveTargetOutOfBoundsException,
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
    WebDriverException,
)
from selenium.webdriver.chrome.remote_connection import ChromeRemoteConnection
from selenium.webdriver.common.proxy import Proxy, ProxyType
from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.remote.remote_connection import RemoteConnection
from selenium.webdriver.remote.webdriver import WebDriver
from urllib3.exceptions import HTTPError

from pipeline.errors import BrowserLost, ServiceError
from pipeline.process.guardian import Guardian
from pipeline.screener.binaries import INSTALL, Binaries, usable_browser
from pipeline.screener.browser_options import NO_DIALOGS, browser_options

#: How often the driver is started if another process has its port.
START_ATTEMPTS = 3
#: Seconds the driver gets to start and say its port, and the browser to start after that.
START_TIMEOUT_SECONDS = 30.0
#: Seconds after which a page that is still loading counts as failed.
PAGE_LOAD_TIMEOUT_SECONDS = 30.0
#: Seconds one of this program's own scripts may take; they need milliseconds.
SCRIPT_TIMEOUT_SECONDS = 15.0
#: Seconds any one command may take before browser and driver count as hanging; more than the page load's.
COMMAND_TIMEOUT_SECONDS = 60.0
#: Pages after which `renew_if_due` starts a fresh browser.
RENEW_AFTER_PAGES = 200

#: Errors that are about the page, not about the session: the caller deals with them.
_PAGE_ERRORS = (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    InvalidElementStateException,
    JavascriptException,
    MoveTargetOutOfBoundsException,
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
)
#: The same, if the driver has no class for them: a command met a navigation, or a page could not be loaded.
_PAGE_MESSAGES = (
    "net::ERR_",
    "aborted by navigation",
    "execution context",
    "document unloaded",
    "cannot determine loading status",
    "inspector error",
)
_DETACHED = "Not attached to an active page"
#: Texts of a lost session that come under a class listed above. Scripts here take milliseconds: one that takes seconds
#: waits for a page that never lets go.
_LOST_MESSAGES = ("tab crashed", "target crashed", "disconnected", "not connected to DevTools", "session deleted", "script timeout")


class Browser:
    """A browser that starts on first use. Not for several threads at once.

    `driver` is Selenium's; calls to it belong in `with browser.guard():`, or go through `execute`, so that a dead or
    hanging session becomes BrowserLost. After that the next use starts a new browser by itself.
    """

    def __init__(
        self,
        browser_path: str | None = None,
        driver_path: str | None = None,
        headless: bool = True,
        *,
        user_agent: str = "",
        renew_after_pages: int = RENEW_AFTER_PAGES,
        page_load_timeout_seconds: float = PAGE_LOAD_TIMEOUT_SECONDS,
        script_timeout_seconds: float = SCRIPT_TIMEOUT_SECONDS,
        command_timeout_seconds: float = COMMAND_TIMEOUT_SECONDS,
    ) -> None:
        self._paths = (browser_path, driver_path)
        self._headless = headless
        self._user_agent = user_agent
        self._page_load_timeout_seconds = page_load_timeout_seconds
        self._script_timeout_seconds = script_timeout_seconds
        self._command_timeout_seconds = command_timeout_seconds
        self._guardian: Guardian | None = None
        self._duties: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._config: ClientConfig | None = None
        self._connection: RemoteConnection | None = None
        self._driver: WebDriver | None = None
        self.renew_after_pages = renew_after_pages
        #: Pages this browser has loaded since it was started.
        self.pages_loaded = 0

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def driver(self) -> WebDriver:
        """Selenium's driver; starts the browser if it is not running."""
        if self._driver is None:
            self.start()
        assert self._driver is not None
        return self._driver

    @property
    def process_group(self) -> int | None:
        """The process group that driver and browser are in, while they are up."""
        return None if self._process is None else self._process.pid

    @property
    def folder(self) -> Path | None:
        """The temporary folder with the profile, while the browser is up."""
        return self._folder

    def start(self) -> None:
        """Start driver and browser, unless they are running. Raises ServiceError if they do not start."""
        if self._driver is not None:
            return
        binaries = usable_browser(*self._paths)
        for left in reversed(range(START_ATTEMPTS)):
            try:
                self._start_driver(binaries)
                self._start_session(binaries)
                return
            except (WebDriverException, HTTPError, OSError) as error:
                log = self._log_tail()
                self.kill()
                # The driver takes a free port of IPv6, and then the same of IPv4, which another process may have.
                if left and "port not available" in log:
                    continue
                raise ServiceError(f"{binaries.browser} does not start ({_one_line(error)}{log}); {INSTALL}") from error
            except BaseException:
                self.kill()
                raise

    def kill(self) -> None:
        """Kill driver and browser and remove the profile, at once; the next use starts new ones."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._connection is not None:
            self._connection.close()
        if self._folder is not None:
            _remove(self._folder)
        if self._guardian is not None:
            # Someone may have killed the guardian: its work has been done here anyway.
            with contextlib.suppress(OSError):
                for number in self._duties:
                    self._guardian.forget(number)
            self._guardian.finish()
            self._guardian = None
        self._duties, self._process, self._folder, self._connection, self._driver = [], None, None, None, None
        self.pages_loaded = 0

    def close(self) -> None:
        """End browser, driver and guardian: the profile is temporary, so there is nothing to end gently."""
        self.kill()

    def restart(self) -> None:
        self.kill()
        self.start()

    def renew_if_due(self) -> bool:
        """Start a fresh browser if this one has loaded `renew_after_pages`; to be called between tasks."""
        if self.pages_loaded < self.renew_after_pages:
            return False
        self.restart()
        return True

    def load(self, url: str) -> None:
        """Navigate. Raises BrowserLost, or the WebDriverException of a page that cannot be loaded."""
        driver = self.driver
        with self.guard():
            self.pages_loaded += 1
            try:
                driver.get(url)
            except WebDriverException as error:
                # A window that the driver has lost hold of loads no page any more.
                if _DETACHED in str(error.msg) and self._hangs():
                    self._lost(error)
                raise

    def execute(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page. Raises BrowserLost, or a WebDriverException that is about the page."""
        driver = self.driver
        with self._answer_within(self._script_timeout_seconds + 1), self.guard():
            return driver.execute_script(script, *arguments)

    def network_events(self) -> list[dict[str, Any]]:
        """What the network did since the last call: DevTools events, `{"method": "Network.…", "params": {…}}`."""
        driver = self.driver
        with self.guard():
            entries = driver.execute("getLog", {"type": "performance"})["value"]
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return [message for message in messages if message["method"].startswith("Network.")]

    def devtools(self, command: str, **parameters: Any) -> dict[str, Any]:
        """One DevTools command, such as Network.getResponseBody. Raises as `execute` does."""
        driver = self.driver
        with self.guard():
            answer: dict[str, Any] = driver.execute("executeCdpCommand", {"cmd": command, "params": parameters})["value"]
            return answer

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Turn the death of browser, driver or tab, and a hang, into BrowserLost; page errors pass through."""
        try:
            yield
        except HTTPError as error:
            self._lost(error)
        except WebDriverException as error:
            # A page that is late leaves a session that can be used; one whose script never ends does not.
            if _is_about_page(error) and not (isinstance(error, TimeoutException) and self._hangs()):
                raise
            self._lost(error)

    def _hangs(self) -> bool:
        assert self._driver is not None
        try:
            with self._answer_within(self._script_timeout_seconds + 1):
                return bool(self._driver.execute_script("return 1") != 1)
        except (WebDriverException, HTTPError):
            return True

    @contextlib.contextmanager
    def _answer_within(self, seconds: float) -> Iterator[None]:
        """If a page's script never ends, the driver's own limit for scripts does not apply: this one does."""
        config = self._config
        assert config is not None
        config.timeout = min(seconds, self._command_timeout_seconds)
        try:
            yield
        finally:
            config.timeout = self._command_timeout_seconds

    def _lost(self, error: Exception) -> None:
        self.kill()
        raise BrowserLost(f"the browser is dead or does not answer: {_one_line(error)}") from error

    def _start_driver(self, binaries: Binaries) -> None:
        assert binaries.driver is not None
        self._guardian = Guardian()
        self._folder = Path(tempfile.mkdtemp(prefix="scraper-"))
        environment = dict(os.environ)
        if len(str(self._folder)) < 40:
            # Chromium's sockets then go with the folder; if the path is long, the sockets' names would not fit.
            environment["TMPDIR"] = str(self._folder)
        with open(self._log_path(), "wb") as log:
            # Port 0 lets the driver choose: a port chosen here could be taken by another process before it starts.
            self._process = subprocess.Popen(
                [binaries.driver, "--port=0"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        # Duties are carried out in order: what uses the folder has to be dead before it is removed.
        for duty in ({"kill_group": self._process.pid, "signal": "SIGKILL"}, {"remove": str(self._folder)}):
            self._duties.append(self._guardian.add(duty))

    def _start_session(self, binaries: Binaries) -> None:
        self._config = config = ClientConfig(
            remote_server_addr=f"http://127.0.0.1:{self._driver_port()}",
            proxy=Proxy({"proxyType": ProxyType.DIRECT}),
            timeout=self._command_timeout_seconds,  # type: ignore[arg-type]  # urllib3 takes fractions
            # urllib3 would try a command that timed out again, three times.
            init_args_for_pool_manager={"init_args_for_pool_manager": {"retries": False}},
        )
        self._connection = ChromeRemoteConnection(remote_server_addr=config.remote_server_addr, client_config=config)
        assert self._folder is not None
        options = browser_options(binaries, self._folder / "profile", self._headless, self._user_agent)
        self._driver = webdriver.Remote(command_executor=self._connection, options=options)
        self._driver.set_page_load_timeout(self._page_load_timeout_seconds)
        self._driver.set_script_timeout(self._script_timeout_seconds)
        self._driver.execute("executeCdpCommand", {"cmd": "Page.addScriptToEvaluateOnNewDocument", "params": {"source": NO_DIALOGS}})
        self.pages_loaded = 0

    def _driver_port(self) -> int:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            found = re.search(rb"started successfully on port (\d+)", self._log_path().read_bytes())
            if found:
                return int(found.group(1))
            if self._process.poll() is not None:
                raise WebDriverException(f"the driver ended with {self._process.returncode}")
            time.sleep(0.02)
        raise WebDriverException(f"the driver named no port within {START_TIMEOUT_SECONDS:g} s")

    def _log_path(self) -> Path:
        assert self._folder is not None
        return self._folder / "driver.log"

    def _log_tail(self) -> str:
        if self._folder is None or not self._log_path().exists():
            return ""
        lines = self._log_path().read_text(errors="replace").strip().splitlines()
        return f"; the driver said: {lines[-1]}" if lines and "started successfully" not in lines[-1] else ""


def _is_about_page(error: WebDriverException) -> bool:
    text = str(error.msg or "")
    if any(message in text for message in _LOST_MESSAGES):
        return False
    return isinstance(error, _PAGE_ERRORS) or any(message in text for message in _PAGE_MESSAGES)


def _one_line(error: Exception) -> str:
    text = (error.msg or "") if isinstance(error, WebDriverException) else str(error)
    return text.strip().partition("\n")[0] or type(error).__name__


def _remove(folder: Path) -> None:
    """Remove a folder that processes which are just dying may still write to."""
    deadline = time.monotonic() + 5.0
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            time.sleep(0.02)
