"""A source that is opened while the consumer joins its group."""

import threading
from typing import Any, cast

import pytest

from pipeline.errors import ServiceError
from pipeline.screener.opening import Opening
from pipeline.screener.source import Source


def test_an_early_caller_waits_for_the_source() -> None:
    may_open, source = threading.Event(), Source(cast(Any, "a page"), None, None)

    def open_source() -> Source:
        assert may_open.wait(60)
        return source

    opening = Opening(open_source)
    opening.start(on_failure=pytest.fail)
    threading.Timer(0.05, may_open.set).start()
    assert opening.get() is source
    assert opening.failed is None


def test_an_opening_error_is_raised_at_once_and_at_every_use() -> None:
    stopped = threading.Event()

    def open_source() -> Source:
        raise ServiceError("no browser")

    opening = Opening(open_source)
    opening.start(on_failure=stopped.set)
    assert stopped.wait(60)
    assert str(opening.failed) == "no browser"
    for _ in range(2):
        with pytest.raises(ServiceError, match="no browser"):
            opening.get()
