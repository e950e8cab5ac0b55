"""The folders of state and logs, and what the services that run there have published."""

from __future__ import annotations

import fcntl
import io
import os
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from config import dotenv_file, values
from config.values import SettingsError

PROJECT = Path(__file__).resolve().parents[1]


def state_dir(demo: bool, environ: Mapping[str, str] = os.environ, in_file: Mapping[str, str] | None = None) -> Path:
    """Folder of the embedded services' state. The demo and live runs have separate ones. `in_file`: the content of `.env`."""
    return home(environ, dotenv_file.read(PROJECT / ".env") if in_file is None else in_file) / ".pipeline" / ("demo" if demo else "live")


def home(environ: Mapping[str, str], in_file: Mapping[str, str]) -> Path:
    """`PIPELINE_HOME`, else the project's folder: the parent of `.pipeline/` and `logs/`."""
    chosen = environ.get("PIPELINE_HOME") or in_file.get("PIPELINE_HOME")
    return values.path("PIPELINE_HOME", chosen, PROJECT) if chosen else PROJECT


def lock_holder(folder: Path) -> int | None:
    """Process id of the orchestrator that holds `folder`, or None. The system releases the lock when that process ends."""
    try:
        with open(folder / "lock", "r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = lock.read(20).strip()
                return int(text) if text.isdecimal() and text.isascii() else 0
    except FileNotFoundError:
        pass
    return None


def embedded_services(folder: Path) -> dict[str, str]:
    """Settings of the embedded services that are running under `folder`; empty if there are none. Raises SettingsError."""
    path = folder / "services.env"
    try:
        if not path.exists() or lock_holder(folder) is None:
            return {}
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:  # its owner has just removed it
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not in UTF-8"
        raise SettingsError(
            f"{folder}, the state of running services, can't be read ({reason}): stop run_pipeline.py, remove services.env, and start it "
            "again, or set PIPELINE_HOME to a folder of your own"
        ) from None
    return {key: value for key, value in dotenv_values(stream=io.StringIO(text), interpolate=False).items() if value}
