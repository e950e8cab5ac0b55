"""Opens a source in a thread of its own, while the consumer joins its group: each takes some seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pipeline.screener.source import Source


class Opening:
    """A source that is opened early. `failed` is what kept it from opening; None if nothing has, or if it is still being opened."""

    def __init__(self, open_source: Callable[[], Source]) -> None:
        self.failed: Exception | None = None
        self._open_source = open_source
        self._source: Source | None = None
        self._done = threading.Event()

    def start(self, on_failure: Callable[[], None]) -> None:
        """Begin. `on_failure` is called, in the thread, if the source does not open."""
        threading.Thread(target=self._open, args=(on_failure,), name="opening", daemon=True).start()

    def get(self) -> Source:
        """The source, as soon as it is open. Raises what kept it from opening."""
        self._done.wait()
        if self._source is None:
            assert self.failed is not None
            raise self.failed
        return self._source

    def _open(self, on_failure: Callable[[], None]) -> None:
        try:
            self._source = self._open_source()
        except Exception as error:  # whatever it is, it ends the process, and its script says it
            self.failed = error
            on_failure()
        finally:
            self._done.set()
