import json

from hypothesis import given
from hypothesis import strategies as st

from pipeline.runs.account import Account, Stage
from pipeline.runs.text import account_line
from pipeline.wire import messages
from pipeline.wire.messages import ProcessingTask, ScrapingTask
from pipeline.wire.results import Computed, Listed, Split, completion
from pipeline.wire.states import RANKS

RUN = "20261124T071326Z-1f3a"
FRANCE = ScrapingTask(RUN, "fr", "France", 300_000_000, 2_000_000_000)
STOCK = ProcessingTask(RUN, "MC.PA", "Maison", "fr")


def read(raw):
    return json.loads(raw)


def finished_account():
    account = Account(RUN)
    # What its producer asked for exchange rates; the task is replayed.
    for message in [messages.pending(FRANCE, 1)] * 2:
        account.task("scraping", read(message))
    account.task("processing", STOCK.fields())
    account.completion("scraping", read(completion(FRANCE, Listed(1))))
    account.completion("processing", read(completion(STOCK, Computed(5))))
    # A refused attempt, and the one that went through.
    for message in (messages.error_message(STOCK, "429", "RateLimited", 1, False, 2), completion(STOCK, Computed(5), 3), b"{}"):
        account.count_requests(read(message))
    return account


def test_a_finished_run_adds_up():
    assert finished_account().summary(12.34) == {
        "run_id": RUN,
        "elapsed_seconds": 12.3,
        "regions": ["fr"],
        "scraping": {"sent": 1, "completed": 1, "split": 0, "failed": 0, "pending": 0},
        "processing": {"sent": 1, "completed": 1, "no_data": 0, "failed": 0, "pending": 0, "fetched": 1, "stored": 0},
        "stocks": 1,
        "ratio_rows": 5,
        "dead_letters": 0,
        "unreadable": 0,
        "requests": 6,
        "requests_per_stock": 6.0,
        "why": {},
    }


def test_duplicate_messages_change_nothing():
    account = finished_account()
    before = account.summary(1)
    account.task("processing", STOCK.fields())
    account.completion("processing", read(completion(STOCK, Computed(5))))
    account.completion("scraping", read(completion(FRANCE, Listed(1))))
    assert account.summary(1) == before


def test_a_failed_task_replayed_successfully_is_completed():
    account = finished_account()
    failed = ProcessingTask(RUN, "AIR.PA", "Air", "fr")
    account.task("processing", failed.fields())
    account.error("processing", read(messages.error_message(failed, "no", "PermanentError", 5, final=True)))
    assert account.summary(1)["dead_letters"] == 1
    account.completion("processing", read(completion(failed, Computed(4))))
    assert account.summary(1)["dead_letters"] == 0
    assert account.ratio_rows == 9
    # and the late echo of the failure does not undo it
    account.error("processing", read(messages.error_message(failed, "no", "PermanentError", 5, final=True)))
    assert account.processing["failed"] == 0


def test_a_retrying_task_is_pending():
    account = Account(RUN)
    account.task("processing", STOCK.fields())
    account.error("processing", read(messages.error_message(STOCK, "later", "TransientError", 1, final=False)))
    assert (account.processing["pending"], account.processing.retrying) == (1, 1)
    assert [error["status"] for error in account.newest_errors()] == ["retrying"]
    account.completion("processing", read(completion(STOCK, Computed(1))))
    assert (account.processing["pending"], account.processing.retrying) == (0, 0)
    assert [error["status"] for error in account.newest_errors()] == ["retried"], "its task has ended"


def test_the_halves_of_a_split_count_as_sent():
    account = Account(RUN)
    account.task("scraping", FRANCE.fields())
    halves = [ScrapingTask(RUN, "fr", "France", 300_000_000, 7), ScrapingTask(RUN, "fr", "France", 7, 2_000_000_000)]
    account.completion("scraping", read(completion(FRANCE, Split(halves))))
    assert account.scraping.summary() == {"sent": 3, "completed": 0, "split": 1, "failed": 0, "pending": 2}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([name for name in RANKS if name != "pending"])), max_size=40))
def test_the_sum_holds_in_any_order_and_the_highest_state_counts(results):
    stage = Stage("processing")
    for task_id, state in results:
        stage.result(task_id, "fr", state)
        assert len(stage.tasks) == sum(stage[name] for name in RANKS)
    for task_id, task in stage.tasks.items():
        assert task.state == max((state for one, state in results if one == task_id), key=RANKS.__getitem__)


def test_unreadable_records_are_in_the_line_and_in_the_summary():
    account = finished_account()
    assert "unreadable" not in account_line(account, 1)
    account.unreadable = 3
    assert account_line(account, 1).endswith("unreadable records: 3")
    assert account.summary(1)["unreadable"] == 3


def test_fields_of_a_result_are_bounded_and_an_invalid_time_is_left_out():
    account = Account(RUN)
    task = {**STOCK.fields(), "status": "completed", "timestamp": "9999-12-31T23:59:59-23:59", "ratios_calculated": 10**30}
    assert account.completion("processing", task)
    assert (account.last_result_at, account.ratio_rows, account.processing["completed"]) == ("", 0, 1)
    for timestamp in ("yesterday", "2026-11-24T08:00:00", None, 5):
        account.error(
            "processing",
            {**task, "task_id": f"process:{RUN}:{timestamp}", "status": "failed", "timestamp": timestamp, "error": "x" * 10**6},
        )
    assert account.last_result_at == ""
    assert max(len(str(error)) for error in account.errors) < 3_000


def test_a_retried_error_of_an_unknown_task_adds_no_pending_task():
    account = Account(RUN)
    account.error("processing", {**STOCK.fields(), "status": "retrying"})
    account.completion("scraping", {**FRANCE.fields(), "status": "split", "children": ["x", f"scrape:{RUN}:fr:1-2", 5]})
    assert (account.processing["pending"], account.scraping["pending"]) == (0, 1)
