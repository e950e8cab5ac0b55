"""Where the browser and its driver are: by the two settings, by their usual names, or by Selenium Manager."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from selenium.common.exceptions import NoSuchDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.driver_finder import DriverFinder

from pipeline.errors import ServiceError

#: What they are called on the PATH, in order of preference.
_BROWSER_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_DRIVER_NAMES = ("chromedriver", "chromium.chromedriver")
_MAC_BROWSERS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
INSTALL = (
    "install Chromium and its driver (Debian: apt install chromium chromium-driver; macOS: Google Chrome is enough),"
    " or set SCRAPER_BROWSER and SCRAPER_DRIVER to where they are"
)


@dataclass(frozen=True)
class Binaries:
    """Where browser and driver are; None is for Selenium Manager to find, or fetch."""

    browser: str | None
    driver: str | None

    @property
    def complete(self) -> bool:
        return self.browser is not None and self.driver is not None


def find_browser(browser_path: str | None = None, driver_path: str | None = None) -> Binaries:
    """Browser and driver by the two settings, else by their usual names and places.

    Raises ServiceError for a setting that names no executable file.
    """
    browser = _setting("SCRAPER_BROWSER", browser_path) or _first_on_path(_BROWSER_NAMES) or _first_file(_MAC_BROWSERS)
    driver = _setting("SCRAPER_DRIVER", driver_path) or _first_on_path(_DRIVER_NAMES)
    return Binaries(browser, driver)


def _setting(name: str, value: str | None) -> str | None:
    if not value:
        return None
    path = shutil.which(os.path.expanduser(value))
    if path is not None:
        return path
    problem = "is a folder" if os.path.isdir(value) else "cannot be executed" if os.path.exists(value) else "does not exist"
    raise ServiceError(f"{name} is {value!r}, which {problem}: expected the path of an executable; {INSTALL}")


def _first_on_path(names: tuple[str, ...]) -> str | None:
    return next((path for path in map(shutil.which, names) if path is not None and not _is_snap(path)), None)


def _first_file(paths: tuple[str, ...]) -> str | None:
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def _is_snap(path: str) -> bool:
    """Ubuntu's `chromium` is a stub for a snap, which cannot use a profile in the temp folder."""
    real = Path(path).resolve()
    if real.parts[1:2] == ("snap",) or real.name == "snap":
        return True
    with contextlib.suppress(OSError):
        return real.stat().st_size < 10_000 and b"/snap/bin/" in real.read_bytes()
    return False


def usable_browser(browser_path: str | None = None, driver_path: str | None = None) -> Binaries:
    """`find_browser`, and what is missing by Selenium Manager, which may fetch it. Raises ServiceError."""
    binaries = find_browser(browser_path, driver_path)
    if binaries.complete:
        return binaries
    options = Options()
    if binaries.browser is not None:
        options.binary_location = binaries.browser
    os.environ.setdefault("SE_AVOID_STATS", "true")
    try:
        finder = DriverFinder(Service(), options)
        # A driver that merely lies on the PATH may be of another version than a browser that is fetched now.
        driver = binaries.driver if driver_path else finder.get_driver_path()
        return Binaries(binaries.browser or finder.get_browser_path(), driver)
    except NoSuchDriverException as error:
        missing = "browser" if binaries.browser is None else "driver"
        raise ServiceError(f"no {missing} found, and Selenium Manager cannot fetch one; {INSTALL}") from error
