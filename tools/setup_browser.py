"""Makes sure that a browser and its driver are installed: `python -m tools.setup_browser`, a part of `make setup`.

It uses what it finds. It installs what is missing if it is root on Debian, else Selenium Manager fetches it. Finally it starts
the browser, so that "found" means "works". Exit code 0, 2 (bad setting) or 3 (no browser).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import config
from pipeline.errors import ServiceError
from pipeline.process.arguments import Parser
from pipeline.screener.binaries import find_browser
from pipeline.screener.browser import Browser

_PACKAGES = ["chromium", "chromium-driver"]


def main() -> int:
    Parser(__doc__, prog="python -m tools.setup_browser").parse_args()
    # Selenium Manager reports each use to a statistics server otherwise.
    os.environ.setdefault("SE_AVOID_STATS", "true")
    try:
        settings = config.load()
    except config.SettingsError as error:
        print(error, file=sys.stderr)
        return config.EXIT_SETTINGS
    paths = (settings.scraper_browser, settings.scraper_driver)
    try:
        if not find_browser(*paths).complete and can_install():
            install()
        with Browser(*paths) as browser:
            browser.start()
            capabilities = browser.driver.capabilities
            found = find_browser(*paths)
            where = found.browser or "fetched by Selenium Manager"
            print(f"browser: {capabilities.get('browserName')} {capabilities.get('browserVersion')} ({where})")
    except ServiceError as error:
        print(error, file=sys.stderr)
        return config.EXIT_SERVICE
    return config.EXIT_DONE


def can_install(os_release: Path = Path("/etc/os-release")) -> bool:
    """Whether this is root on Debian. Not Ubuntu: there the package is a stub for a snap, which cannot be driven."""
    try:
        lines = os_release.read_text().splitlines()
    except OSError:
        return False
    return os.geteuid() == 0 and "ID=debian" in lines


def install() -> None:
    """Install Chromium and its driver with apt-get. Raises ServiceError if that fails."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "-q", "update"], ["apt-get", "-q", "install", "-y", "--no-install-recommends", *_PACKAGES]):
        print("+", " ".join(command), flush=True)
        try:
            code = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False).returncode
        except OSError as error:
            raise ServiceError(f"{command[0]} cannot be run: {error}") from error
        # An update fails if any source of the user fails. The install then shows whether that matters.
        if code != 0 and "install" in command:
            raise ServiceError(f"`{' '.join(command)}` failed with {code}: install Chromium and its driver by hand, then run make setup")


if __name__ == "__main__":
    sys.exit(main())
