"""What the handler does if the site's list of quotes can't be had."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest

from pipeline.errors import NoData, PermanentError, RateLimited, TaskError, TransientError
from pipeline.refresh import due
from pipeline.refresh.processor import Processor, Refresh
from pipeline.wire.messages import ProcessingTask
from tests.refresh.test_due import LAST, NIGHT

TASK = ProcessingTask("20261128T000000Z-0000", "PLAIN", "Plain", "us")


def handler(error: TaskError) -> Processor:
    def ask(symbol: str) -> Mapping[str, Any] | None:
        raise error

    return Processor(Refresh("timeseries", False, 45), lambda symbol: Future(), ask, lambda: NIGHT)


@pytest.mark.parametrize("error", [TransientError("500"), NoData("gone"), PermanentError("404")])
def test_a_stock_without_a_quote_in_the_batch_is_fetched(error: TaskError) -> None:
    quote, asked = handler(error)._quote(TASK, LAST, NIGHT + timedelta(days=1))
    assert (quote, asked) == ({}, False)
    assert due.verdict(quote, LAST, NIGHT, 45) == due.Verdict(True, due.NO_QUOTE)


def test_a_site_that_refuses_is_waited_for() -> None:
    with pytest.raises(RateLimited):
        handler(RateLimited("429"))._quote(TASK, LAST, NIGHT)
