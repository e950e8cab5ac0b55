"""Whether the statements of one company are in one unit: a year given in thousands beside others in single units. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import pairwise
from math import log, log10
from statistics import median
from typing import TYPE_CHECKING

from pipeline.ratios.fundamentals import BALANCE_KEYS, CASH_FLOW_KEYS, INCOME_KEYS, KEYS, major, unit_value
from pipeline.ratios.share_counts import LEAST_EPS, SHARES

if TYPE_CHECKING:
    from pipeline.ratios.statement import Statement

Lines = Mapping[str, tuple[date, float]]

#: Amounts that are this many times those of the period beside it, in the median of all lines, are in another unit. No company grows so.
UNIT_STEP = 300.0
#: The same between amounts of which one is labelled with a trading unit (pence): a wrong label is a hundred times off.
LABEL_STEP = 10.0
#: Fewer times are enough if the next period undoes them, or if earnings per share did not follow.
SHOWN_STEP = 8.0
#: Two steps within this of each other are one.
_SAME_STEP = log(1.5)
#: Lines that are no amounts of money.
_NO_AMOUNTS = frozenset({SHARES, "TaxRateForCalcs", "DilutedEPS"})
_INCOME = frozenset(INCOME_KEYS) - _NO_AMOUNTS
_PARTS = (frozenset(BALANCE_KEYS) - _NO_AMOUNTS, frozenset(CASH_FLOW_KEYS))
_AMOUNTS = KEYS - _NO_AMOUNTS
#: Lines that are never near zero in one year alone.
_STEADY = ("TotalRevenue", "CostOfRevenue", "TotalAssets", "TotalLiabilitiesNetMinorityInterest")
_PARTS_OF_ASSETS = (
    "CurrentAssets",
    "Inventory",
    "AccountsReceivable",
    "CashCashEquivalentsAndShortTermInvestments",
    "CashAndCashEquivalents",
)
#: Fewer lines than this in common say nothing about a unit.
_LEAST_LINES = 3
#: Shares ÷ (earnings ÷ earnings per share) within this power of ten of 1 are of one unit; thousands of times off, of two.
_ONE_UNIT = log10(30.0)
_THOUSANDS = (3.0, 6.0)
_NEARLY = 0.12
#: Figures of several periods within so many times of each other agree.
_AGREEING = 3.0


def odd_amounts(statements: Sequence[Statement], balance: Statement | None = None, by_splits: Sequence[float] = ()) -> list[int]:
    """A number for each statement, 0 for those in single units or, if nothing tells, in the unit that most of them have.

    The same number is the same unit. If there is no most, none gets 0. Statements in different currencies are not compared. `balance`
    belongs to the first statement, if that has none of its own. `by_splits`: by how many powers of ten a split can have parted counts and
    earnings per share.
    """
    levels = _levels(statements, _AMOUNTS)
    shown: Counter[int] = Counter()
    for number, (level, one) in enumerate(zip(levels, statements, strict=True)):
        off = _off_per_share(one, balance if not number else None)
        if off is not None and any(abs(abs(off) - power) < _NEARLY for power in by_splits):
            off = None
        shown[level] += 0 if off is None else 1 if abs(off) < _ONE_UNIT else -any(abs(off - power) < _NEARLY for power in _THOUSANDS)
    best = max(shown.values(), default=0)
    fitting = [level for level in levels if shown[level] == best] if best >= 0 else []
    counts = Counter(fitting).most_common(2)
    usual = counts[0][0] if len(counts) == 1 or (counts and counts[0][1] > counts[1][1]) else None
    return [2 * level + 1 if usual is None else level - usual for level in levels]


def split_powers(splits: Mapping[date, float]) -> tuple[float, ...]:
    """By how many powers of ten the splits since each of them changed a count, if by so many that it looks like another unit."""
    powers = (abs(sum(log10(factor) for when, factor in splits.items() if when >= day)) for day in splits)
    return tuple(power for power in powers if power >= _ONE_UNIT)


def _off_per_share(one: Statement, balance: Statement | None = None) -> float | None:
    """By how many powers of ten shares × earnings per share are above the earnings; None if they cannot be held against each other."""
    lines = {**balance.lines, **one.lines} if balance else one.lines
    count, eps = lines.get(SHARES), lines.get("DilutedEPS")
    earned = lines.get("NetIncomeCommonStockholders") or lines.get("NetIncome")
    code = one.codes.get("DilutedEPS", one.currency)
    if not count or not eps or not earned or count[1] <= 0 or major(code) != major(one.currency):
        return None
    per_share = eps[1] * unit_value(code) / unit_value(one.currency)
    if abs(per_share) < LEAST_EPS * unit_value(code) or per_share * earned[1] <= 0:
        return None
    return log10(count[1]) + log10(abs(per_share)) - log10(abs(earned[1]))  # the product itself may be beyond a double


def without_odd_parts(statements: Sequence[Statement]) -> list[Statement]:
    """The statements without what is in another unit than the rest: a balance sheet, a cash-flow statement, a single large line."""
    found = [_without_contradictions(one) for one in statements]
    compared = (_compared(one, other, _AMOUNTS) for one, other in pairwise(found))
    if all(a < SHOWN_STEP * b and b < SHOWN_STEP * a for pairs, _ in compared for a, b in pairs):
        return found
    income = _levels(found, _INCOME)
    for part in _PARTS:
        off = [own - base for own, base in zip(_levels(found, part), income, strict=True)]
        if any(off):
            # A statement without that part is no witness. Without a majority, any of them may be the odd one.
            levels = Counter(level for level, one in zip(off, found, strict=True) if not part.isdisjoint(one.lines))
            usual = next((level for level, most in levels.items() if 2 * most > levels.total()), None)
            found = [one if level == usual else _without(one, part) for one, level in zip(found, off, strict=True)]
    for key in _STEADY:
        for before, one, after in zip(found, found[1:], found[2:], strict=False):
            if _is_spike([(statement, statement.lines.get(key)) for statement in (before, one, after)]):
                found = [_without(other, (key,)) if other is one else other for other in found]
    return found if any(_levels(found, _AMOUNTS)) else _without_thousandths(found)


def _without_thousandths(statements: Sequence[Statement]) -> list[Statement]:
    """Without single lines that are a thousand or a million times what they are in all others, which agree."""
    wrong: dict[int, set[str]] = {}
    for key in _AMOUNTS:
        found = [(n, one.currency, one.lines[key][1]) for n, one in enumerate(statements) if key in one.lines]
        sizes = [abs(value) for _, _, value in found]
        if len(sizes) < _LEAST_LINES or max(sizes) < UNIT_STEP * min(sizes) or min(sizes) == 0 or len({code for _, code, _ in found}) > 1:
            continue
        for n, _, value in found:
            others = sorted(abs(other) for m, _, other in found if m != n and other * value > 0)
            if len(others) < len(found) - 1 or others[-1] > _AGREEING * others[0]:
                continue
            off = abs(log10(abs(value)) - log10(median(others)))
            if any(abs(off - power) < _NEARLY for power in _THOUSANDS):
                wrong.setdefault(n, set()).add(key)
    return [_without(one, wrong[n]) if n in wrong else one for n, one in enumerate(statements)]


def _without_contradictions(one: Statement) -> Statement:
    """Without an equity, a debt or earnings that are hundreds of times less than what other lines of the same statement make of them, and
    without a part of the assets that is many times all of them."""
    lines = one.lines

    def value(key: str) -> float:
        return lines[key][1] if key in lines else 0.0

    wrong = set()
    assets, liabilities = value("TotalAssets"), value("TotalLiabilitiesNetMinorityInterest")
    equity = assets - liabilities
    if liabilities * UNIT_STEP > assets and 2 * value("MinorityInterest") < equity:
        wrong |= {key for key in ("StockholdersEquity", "CommonStockEquity") if 0 < value(key) * UNIT_STEP <= equity}
    # If several parts are, the whole is wrong.
    larger = [key for key in _PARTS_OF_ASSETS if assets > 0 and value(key) > LABEL_STEP * assets]
    if len(larger) == 1:
        wrong |= set(larger)
    if 0 < value("TotalDebt") * UNIT_STEP < value("LongTermDebt"):
        wrong.add("TotalDebt")
    # Cost and gross profit are the revenue's two parts.
    parts = value("CostOfRevenue") + value("GrossProfit")
    if {"CostOfRevenue", "GrossProfit"} <= lines.keys() and any(abs(value("TotalRevenue") - n * parts) < 1e-3 * parts for n in (2, 3)):
        wrong.add("TotalRevenue")
    after_tax = value("PretaxIncome") - value("TaxProvision")
    for key in ("NetIncome", "NetIncomeCommonStockholders") if "TaxProvision" in lines else ():
        if 0 < value(key) * UNIT_STEP < after_tax:
            off = log10(after_tax) - log10(value(key))
            wrong |= {key for power in _THOUSANDS if abs(off - power) < _NEARLY}
    return _without(one, wrong) if wrong else one


def _is_spike(three: Sequence[tuple[Statement, tuple[date, float] | None]]) -> bool:
    """Whether the second figure is hundreds of times off both others, which it is not beside in other lines."""
    (before, first), (one, second), (after, third) = three
    if not first or not second or not third or len({before.currency, one.currency, after.currency}) > 1:
        return False
    if first[1] * second[1] <= 0 or third[1] * second[1] <= 0 or _step(before, one, _AMOUNTS) or _step(one, after, _AMOUNTS):
        return False
    offs = (log(abs(second[1])) - log(abs(first[1])), log(abs(second[1])) - log(abs(third[1])))
    return min(abs(off) for off in offs) >= log(UNIT_STEP) and offs[0] * offs[1] > 0


def _without(statement: Statement, keys: Iterable[str]) -> Statement:
    return replace(statement, lines={key: line for key, line in statement.lines.items() if key not in keys})


def _levels(statements: Sequence[Statement], keys: frozenset[str]) -> list[int]:
    """How many units each statement is above the first one's, by the steps from one to the next."""
    middles = [_middle(one, other, keys) for one, other in pairwise(statements)]
    levels = [0] * len(statements)
    for i, (middle, least) in enumerate(middles):
        odd = abs(middle) >= log(least)
        if not odd and abs(middle) >= log(SHOWN_STEP):
            undone = any(abs(middle + other) <= _SAME_STEP for other, _ in middles[max(0, i - 1) : i + 2])
            odd = undone if (stayed := _per_share_stayed(statements[i], statements[i + 1], middle)) is None else stayed
        levels[i + 1] = levels[i] + (0 if not odd else 1 if middle > 0 else -1)
    return levels


def _per_share_stayed(one: Statement, other: Statement, middle: float) -> bool | None:
    """Whether the amounts became so many times smaller and earnings per share did not; None if these say nothing."""
    before, after = _off_per_share(one), _off_per_share(other)
    return None if before is None or after is None else abs((after - before) * log(10) - middle) <= _SAME_STEP


def in_one_unit(one: Statement, other: Statement) -> bool:
    """Whether nothing shows that the amounts of the two are in different units."""
    return not _step(one, other, _AMOUNTS)


def _step(one: Statement, other: Statement, keys: frozenset[str]) -> int:
    """1 if the other is in units a thousand times larger or so (its figures smaller), -1 the other way round, 0 in one unit."""
    middle, least = _middle(one, other, keys)
    return 0 if abs(middle) < log(least) else 1 if middle > 0 else -1


def _middle(one: Statement, other: Statement, keys: frozenset[str]) -> tuple[float, float]:
    """How many times the lines of `one` are those of the other, in the median (logarithm), and from how many times on that is odd."""
    pairs, least = _compared(one, other, keys)
    if len(pairs) < _LEAST_LINES or all(a < SHOWN_STEP * b and b < SHOWN_STEP * a for a, b in pairs):
        return 0.0, least
    return median(log(a) - log(b) for a, b in pairs), least


def _compared(one: Statement, other: Statement, keys: frozenset[str]) -> tuple[list[tuple[float, float]], float]:
    """The figures of each line that both have with one sign, and from how many times on they are odd; none in two currencies."""
    scale, least = 1.0, UNIT_STEP
    if one.currency != other.currency:
        if major(one.currency) != major(other.currency):
            return [], least
        scale, least = unit_value(one.currency) / unit_value(other.currency), LABEL_STEP
    pairs = [(a[1], other.lines[key][1]) for key, a in one.lines.items() if key in keys and key in other.lines]
    return [(abs(a) * scale, abs(b)) for a, b in pairs if a * b > 0], least
