"""How the browser is started: by a pipe to its driver, without a port, and under which name it speaks to the site."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from selenium.webdriver.chrome.options import Options

from pipeline.screener.binaries import Binaries

#: Seconds the browser gets to say its version.
VERSION_TIMEOUT_SECONDS = 10.0
_ARGUMENTS = (
    # A debugging port would let every user of this machine steer the browser.
    "--remote-debugging-pipe",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--mute-audio",
    # Chromium draws the lists below its address bar as pages of their own, at the start: half of what a start costs.
    "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup",
    "--lang=en-US",
    "--window-size=1600,1200",
)
#: Runs in every page before its own scripts. A dialog would stop all scripts, ours too; so each is answered at once, as by Escape.
NO_DIALOGS = "window.alert = () => {}; window.confirm = () => false; window.prompt = () => null; window.print = () => {};"


def browser_options(binaries: Binaries, profile: Path, headless: bool, user_agent: str) -> Options:
    """Options of a browser with a profile of its own, whose network events can be read from the performance log.

    The log was chosen over a script that wraps the page's `fetch`: the page cannot tell that it is watched, requests of a
    `Request` object, of XHR and of a form are seen alike, and so are the status and the redirects of the page itself.
    """
    assert binaries.browser is not None
    options = Options()
    options.binary_location = binaries.browser
    options.page_load_strategy = "eager"
    options.unhandled_prompt_behavior = "dismiss"
    options.add_argument(f"--user-data-dir={profile}")
    for argument in _ARGUMENTS:
        options.add_argument(argument)
    # The switch --blink-settings=imagesEnabled=false is without effect (Chromium 156); this is what stops the requests.
    options.add_experimental_option("prefs", {"profile.managed_default_content_settings.images": 2})
    options.add_experimental_option("perfLoggingPrefs", {"enableNetwork": True, "enablePage": False})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    if headless:
        options.add_argument("--headless=new")
    name = user_agent or (own_user_agent(binaries.browser) if headless else "")
    if name:
        options.add_argument(f"--user-agent={name}")
    if sys.platform == "linux" and os.geteuid() == 0:
        # Chromium's sandbox refuses to run as root; for everybody else it stays on.
        options.add_argument("--no-sandbox")
    return options


def own_user_agent(browser: str) -> str:
    """What this browser calls itself in a window: without a window it says HeadlessChrome. Empty if it does not say its version."""
    try:
        said = subprocess.run([browser, "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_SECONDS, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    version = re.search(r"\b(\d{2,4})\.\d+\.\d+", said)
    if version is None:
        return ""
    system = "Macintosh; Intel Mac OS X 10_15_7" if sys.platform == "darwin" else "X11; Linux x86_64"
    # As Chromium itself says it: all but the first number of its version are 0.
    return f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version[1]}.0.0.0 Safari/537.36"
