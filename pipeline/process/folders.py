"""Makes the folders for state and logs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import ServiceError


def make_folder(folder: Path, what: str) -> None:
    """Make the folder, and its parents, if it is missing. `what` will be kept in it. Raises ServiceError with what to do."""
    with needing_folder(folder, what):
        folder.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def needing_folder(folder: Path, what: str) -> Iterator[None]:
    """Turns an OSError into a ServiceError that names the folder and says what to do."""
    try:
        yield
    except OSError as error:
        path = f": {error.filename}" if error.filename and str(error.filename) != str(folder) else ""
        raise ServiceError(
            f"{what} can't be kept in {folder} ({error.strerror}{path}): set PIPELINE_HOME to a folder that you can write"
        ) from None
