import random

from hypothesis import given
from hypothesis import strategies as st

from pipeline.worker.ledger import OffsetLedger


def test_records_finished_out_of_order_wait_for_those_below():
    ledger = OffsetLedger()
    for offset in (10, 11, 12):
        assert ledger.take(offset)
    ledger.finish(11)
    ledger.finish(12)
    assert ledger.to_commit() is None
    ledger.finish(10)
    assert ledger.to_commit() == 13
    ledger.committed(13)
    assert ledger.to_commit() is None


def test_a_record_redelivered_while_in_work_is_recognized():
    ledger = OffsetLedger()
    assert ledger.take(5)
    assert not ledger.take(5)


def test_a_record_redelivered_after_it_was_finished_but_not_committed_is_recognized():
    ledger = OffsetLedger()
    ledger.take(5)
    ledger.finish(5)
    assert not ledger.take(5)
    assert ledger.to_commit() == 6


def test_a_position_below_the_committed_one_is_new_work():
    ledger = OffsetLedger()
    ledger.take(5)
    ledger.finish(5)
    ledger.committed(6)
    assert ledger.take(3)
    assert ledger.take(5)
    ledger.finish(5)
    assert ledger.to_commit() is None
    ledger.finish(3)
    assert ledger.to_commit() == 6


def test_gaps_between_offsets_do_not_hold_the_position_back():
    ledger = OffsetLedger()
    for offset in (1, 4, 9):
        ledger.take(offset)
        ledger.finish(offset)
    assert ledger.to_commit() == 10


@given(st.sets(st.integers(0, 200), max_size=40), st.integers(0, 2**32))
def test_no_order_of_completions_commits_past_unfinished_work(chosen, seed):
    offsets = sorted(chosen)
    chance = random.Random(seed)
    ledger = OffsetLedger()
    waiting = list(offsets)
    in_work: list[int] = []
    done: set[int] = set()
    while waiting or in_work:
        if waiting and (not in_work or chance.random() < 0.5):
            offset = waiting.pop(0)
            assert ledger.take(offset)
            in_work.append(offset)
        else:
            offset = in_work.pop(chance.randrange(len(in_work)))
            ledger.finish(offset)
            done.add(offset)
        position = ledger.to_commit()
        if position is not None:
            assert all(offset in done for offset in offsets if offset < position)
            if chance.random() < 0.5:
                ledger.committed(position)
    assert ledger.open == 0


def test_an_offset_without_a_record_is_passed_if_nothing_is_open():
    ledger = OffsetLedger()
    ledger.read_to(5)
    assert ledger.to_commit() is None, "nothing was read of it yet"
    ledger.take(0)
    ledger.read_to(2)
    assert ledger.to_commit() is None, "a task is open"
    ledger.finish(0)
    ledger.read_to(2)
    assert ledger.to_commit() == 2
    ledger.read_to(1)
    assert ledger.to_commit() == 2
