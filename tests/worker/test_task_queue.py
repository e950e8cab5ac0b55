"""Tasks between poll and result: in order per key, none forgotten, none run twice at once."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition

from pipeline.wire.messages import ProcessingTask
from pipeline.worker.delivery import Delivery
from pipeline.worker.task_queue import TaskQueue

TASKS, RETRIES = TopicPartition("tasks", 0), TopicPartition("retries", 0)


def delivery(partition: TopicPartition, offset: int, symbol: str) -> Delivery[ProcessingTask]:
    task = ProcessingTask("20261124T071326Z-1f3a", symbol, "", "us")
    return Delivery(partition, offset, b"", {}, task, 0)


def test_dropping_a_task_delivered_twice_keeps_the_one_in_work():
    """A partition is lost while its task is in work, comes back with the same task, and is lost again."""
    queue: TaskQueue[ProcessingTask] = TaskQueue()
    first, other, again = delivery(TASKS, 5, "A"), delivery(RETRIES, 9, "A"), delivery(TASKS, 5, "A")
    assert queue.add(first) is first
    assert queue.add(other) is None
    assert queue.add(again) is None
    queue.drop_waiting(lambda one: one.partition == TASKS)
    assert queue.finish(first) is other
    assert queue.finish(other) is None
    assert queue.in_work == 0


@given(st.integers(0, 2**32))
def test_every_task_that_is_not_dropped_runs_once_and_in_order(seed):
    chance = random.Random(seed)
    queue: TaskQueue[ProcessingTask] = TaskQueue()
    running: list[Delivery[ProcessingTask]] = []
    waiting: list[Delivery[ProcessingTask]] = []

    def start(one: Delivery[ProcessingTask] | None) -> None:
        if one is not None:
            running.append(one)
            waiting.remove(one)

    for number in range(chance.randrange(60)):
        step = chance.randrange(4)
        if step < 2:
            one = delivery(chance.choice([TASKS, RETRIES]), number, chance.choice("ABC"))
            waiting.append(one)
            start(queue.add(one))
        elif step == 2 and running:
            start(queue.finish(running.pop(chance.randrange(len(running)))))
        elif chance.random() < 0.3:
            unwanted = chance.choice([TASKS, RETRIES])
            dropped = queue.drop_waiting(lambda one, unwanted=unwanted: one.partition == unwanted)
            assert sorted(one.offset for one in dropped) == sorted(one.offset for one in waiting if one.partition == unwanted)
            waiting = [one for one in waiting if one.partition != unwanted]
        assert len({one.task.key for one in running}) == len(running)
        assert queue.in_work == len(running) + len(waiting)
    while running:
        start(queue.finish(running.pop()))
    assert waiting == []
    assert queue.in_work == 0
