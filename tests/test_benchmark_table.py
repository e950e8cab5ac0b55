import pytest

from benchmarks.__main__ import TABLE, derive, rounded, table
from benchmarks.stand import Timed


def test_speed_is_compared_if_both_parts_were_run():
    one = {"pipeline_stocks_per_second": 60.0, "processing_stocks_per_second": 90.0}
    assert derive(dict(one)) == one
    found = derive({**one, "sequential_stocks_per_second": 1.2, "sequential_processing_stocks_per_second": 1.5})
    assert found["speedup_vs_sequential"] == pytest.approx(50)
    assert found["processing_speedup_vs_sequential"] == pytest.approx(60)


def test_the_table_has_a_line_for_each_figure_even_if_not_measured():
    assert len(table({"scaling": {"1": 1.0, "8": 7.2}, "memory_growth": 1.01}).splitlines()) == len(TABLE)


def test_figures_have_four_digits():
    assert rounded({"a": 1.23456, "b": {"1": 98765.4}, "c": 7}) == {"a": 1.235, "b": {"1": 98770.0}, "c": 7}


def test_the_rate_is_from_the_first_task_to_the_last_completion():
    assert Timed(100.0, [101.0, 104.0, 102.0, 103.0]).per_second == 1.0


def test_the_steady_rate_leaves_out_start_and_tail():
    completions = [100.0 + number for number in range(9)] + [500.0]
    assert Timed(0.0, completions).steady_per_second == 1.0
