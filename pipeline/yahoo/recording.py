"""Each exchange with the site in a file of its own, for `python -m local.market --replay DIR`. Without cookies and crumbs.

A script's `--record DIR` names the folder to this process and, by the environment, to those that it starts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from config import SettingsError

log = logging.getLogger(__name__)

#: The folder, for this process and its children.
FOLDER = "PIPELINE_RECORD_TO"
#: Parameters that are secret, by their names; and those of a body.
_SECRET = re.compile(r"(?i)^(?:crumb|.*token.*|.*session.*|.*cookie.*)$")
_CRUMB_PATH = "/v1/test/getcrumb"
_REDACTED = "-"


def add_flag(parser: argparse.ArgumentParser) -> None:
    """The flag `--record`, for a script that talks to the site; what was given belongs to `record_to`."""
    parser.add_argument(
        "--record",
        type=Path,
        metavar="DIR",
        help="write each exchange with the site to a file in DIR (no cookies, no crumb); python -m local.market --replay DIR serves them",
    )


def record_to(folder: Path | None) -> None:
    """Record from now on, here and in processes that are started later; None records nothing.

    Raises SettingsError if the folder can't be created.
    """
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"--record {folder}: {os.strerror(error.errno or 0)}; expected a folder that can be written to") from None
    os.environ[FOLDER] = str(folder.resolve())


def is_on() -> bool:
    return bool(os.environ.get(FOLDER))


def note(method: str, url: str, sent: str | None, status: int, content_type: str, body: str) -> None:
    """Record an exchange, if recording is on. A folder that is not writable ends the recording, not the run."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    secrets = _secrets(url)
    plain = _without(body, secrets) if urlsplit(url).path != _CRUMB_PATH else _REDACTED
    exchange = {
        "method": method,
        "url": redacted(url),
        "sent": None if sent is None else _without(sent, secrets),
        "status": status,
        "content_type": content_type,
        "body": plain,
        "at": time.time(),
    }
    path = Path(folder) / f"{time.time_ns()}-{os.getpid()}.json"
    try:
        path.write_text(json.dumps(exchange, ensure_ascii=True), encoding="ascii")
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        log.warning("not recorded: %s", error)


def redacted(url: str) -> str:
    """The address with `-` for what is secret in it."""
    parts = urlsplit(url)
    parameters = [(name, _REDACTED if _SECRET.match(name) else value) for name, value in parse_qsl(parts.query, keep_blank_values=True)]
    return urlunsplit((parts.scheme, parts.hostname or "", parts.path, urlencode(parameters), ""))


def key(exchange: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """What makes two requests the same: method, path, parameters and body, but for crumbs and for times that are those of the day."""
    parts = urlsplit(redacted(exchange["url"]))
    parameters = sorted((name, value) for name, value in parse_qsl(parts.query) if name not in ("period1", "period2", "crumb"))
    return exchange["method"], parts.path, urlencode(parameters), _canonical(exchange.get("sent") or "")


def _canonical(sent: str) -> str:
    """A body of JSON in one spelling."""
    try:
        return json.dumps(json.loads(sent), sort_keys=True)
    except ValueError:
        return sent


def _secrets(url: str) -> set[str]:
    values = {value for name, value in parse_qsl(urlsplit(url).query) if _SECRET.match(name)}
    return {form for value in values if len(value) > 3 for form in (value, quote(value, safe=""))}


def _without(text: str, secrets: set[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, _REDACTED)
    # A page holds crumbs of its own: in addresses, and as fields of JSON.
    text = re.sub(r"(?i)(crumb(?:=|%3D|\\*[\"']\s*:\s*\\*[\"']))[^&\"'\\<>\s]+", rf"\1{_REDACTED}", text)
    return re.sub(r"(?i)(name=\\?[\"'](?:csrfToken|sessionId)\\?[\"']\s+value=\\?[\"'])[^\"'\\]*", rf"\1{_REDACTED}", text)
