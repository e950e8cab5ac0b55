"""What the formulas see of one period: its lines by name, now and a year earlier, and why one is missing. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache

from pipeline.ratios.figure import Figure, Rank, positive
from pipeline.ratios.fundamentals import BALANCE_KEYS, FLOW_KEYS
from pipeline.ratios.periods import Period
from pipeline.ratios.share_counts import SHARES, growth_by_splits
from pipeline.ratios.statement import Statement

#: Names that the formulas use beside the keys. Each is the first of its lines whose keys are all there, at both dates if two are compared.
NAMES: dict[str, tuple[str, ...]] = {
    "cash": ("CashCashEquivalentsAndShortTermInvestments", "CashAndCashEquivalents"),
    "equity": ("CommonStockEquity", "StockholdersEquity"),
    "preferred": ("StockholdersEquity - CommonStockEquity", "PreferredStockEquity", "PreferredStock", "0"),
    "minority": ("MinorityInterest", "0"),
    "earnings": ("NetIncomeCommonStockholders", "NetIncome"),
    "gross_profit": ("GrossProfit", "TotalRevenue - CostOfRevenue"),
    "free_cash_flow": ("FreeCashFlow", "OperatingCashFlow + CapitalExpenditure"),
    "operating_profit": ("OperatingIncome", "EBIT"),
}

_FLOWS = frozenset(FLOW_KEYS)
_BALANCES = frozenset(BALANCE_KEYS)

Line = tuple[tuple[float, str], ...]


@lru_cache(maxsize=256)
def _lines_of(name: str) -> tuple[Line, ...]:
    """The lines of a name, each as (sign, key) terms; of a key the key itself."""
    return tuple(_parse_line(text) for text in NAMES.get(name, (name,)))


def _parse_line(text: str) -> Line:
    if text == "0":
        return ()
    words = ["+", *text.split()]
    return tuple((-1.0 if sign == "-" else 1.0, key) for sign, key in zip(words[::2], words[1::2], strict=True))


class Figures:
    """What the formulas see of one period: `y["X"]` at its end, `y.avg("X")`, `y.growth("X")`, `y.pair("X")`.

    X is a key of the statements, one of NAMES, a ratio, or one of `market_cap`, `market_value`, `dividends`, `tax_rate`,
    `interest_expense`.
    """

    def __init__(
        self,
        period: Period,
        market_cap: Figure,
        market_cap_usd: Figure,
        split_factor: Callable[[date], float | None],
        splits: Mapping[date, float],
        formulas: Mapping[str, Callable[[Figures], Figure]],
    ) -> None:
        """`split_factor` gives, for a day, how many of today's shares one share of that day has become by splits; None if unclear."""
        self.period = period
        self._formulas = formulas
        self.lines: dict[str, tuple[date, float]] = {**period.flows.lines, **(period.balance.lines if period.balance else {})}
        self._split_factor = split_factor
        self._splits = splits
        self._now: dict[str, Figure] = {
            "market_cap": positive(market_cap, Rank.MARKET_CAP, "market_cap").named("market_cap"),
            "market_cap_usd": positive(market_cap_usd, Rank.MARKET_CAP, "market_cap"),
        }
        # It is compared with figures of the statements, so those must be in the unit of the company's other statements.
        odd = period.flows.unit != 0
        self._now["market_value"] = self._now["market_cap"].but(odd, Rank.AMOUNT_UNIT, "amount_unit").named("market_cap")
        self._pairs: dict[str, tuple[Figure, Figure]] = {}
        self._means: dict[str, Figure] = {}

    def __getitem__(self, name: str) -> Figure:
        figure = self._now.get(name)
        if figure is None:
            compute = self._formulas.get(name)
            figure = self._now[name] = compute(self) if compute else self.line(name)
        return figure

    def value(self, key: str) -> float | None:
        line = self.lines.get(key)
        return line[1] if line else None

    def line(self, name: str) -> Figure:
        """A key, or one of NAMES, at the period's end."""
        return self._of_a_year(name, self._chain(name, self.lines)[0], self.period.flows)

    def pair(self, name: str) -> tuple[Figure, Figure]:
        """`name` at the period's end and one year earlier, of the same keys."""
        pair = self._pairs.get(name)
        if pair is None:
            pair = self._pairs[name] = self._compare(name, self._earlier(name))
        return pair

    def avg(self, name: str) -> Figure:
        """Mean of `name` at the period's end and one year earlier."""
        value = self._means.get(name)
        if value is None:
            value = self._means[name] = mean_of(*self.pair(name)).named(name)
        return value

    def growth(self, name: str) -> Figure:
        """`name` / the same one year earlier − 1."""
        return growth_of(*self.pair(name), name)

    def shares(self) -> tuple[Figure, Figure]:
        """OrdinarySharesNumber at the period's end and one year earlier, both restated for all splits known today."""
        earlier = self._earlier(SHARES)
        now, before = self.pair(SHARES)
        return self._split_adjusted(now, self.lines), self._split_adjusted(before, earlier.lines if earlier else {})

    def per_share(self, name: str) -> tuple[Figure, Figure]:
        """A figure per share at the period's end and one year earlier, both per share as at the period's end."""
        now, before = self.pair(name)
        earlier = self.period.earlier_flows
        if now.value is None or before.value is None or earlier is None:
            return now, before
        before = before.but(self.period.flows.codes.get(name) != earlier.codes.get(name), Rank.CURRENCY_CHANGED, "currency_changed")
        if before.value is None:
            return now, before
        first, last = earlier.lines[name][0], self.period.flows.lines[name][0]
        between = [factor for day, factor in self._splits.items() if first < day <= last]
        later = [factor for day, factor in self._splits.items() if day > last]
        counts = [
            earned.value / figure.value if earned.value and figure.value else None
            for earned, figure in zip(self.pair("earnings"), (now, before), strict=True)
        ]
        jump = counts[0] / counts[1] if counts[0] and counts[1] else None
        # Of an earlier loss there is no growth anyway.
        factor = growth_by_splits(jump, between, later, self._share_growth() if before.value > 0 else None)
        return now, before.but(factor is None, Rank.SPLIT_UNCLEAR, "split_unclear") * (1 / (factor or 1.0))

    def _share_growth(self) -> float | None:
        now, before = (count.value for count in self.shares())
        return now / before if now and before else None

    def compare_three_years(self, name: str) -> tuple[Figure, Figure]:
        """`name` at the period's end and three fiscal years earlier."""
        return self._compare(name, self.period.three_years_earlier)

    def _split_adjusted(self, count: Figure, lines: Mapping[str, tuple[date, float]]) -> Figure:
        line = lines.get(SHARES)
        factor = self._split_factor(line[0]) if line else 1.0
        return count.but(factor is None, Rank.SPLIT_UNCLEAR, "split_unclear") * (factor or 1.0)

    def _earlier(self, name: str) -> Statement | None:
        return self.period.earlier_flows if _is_flow(name) else self.period.earlier_balance

    def _compare(self, name: str, earlier: Statement | None) -> tuple[Figure, Figure]:
        if earlier is None:
            return self.line(name), Figure(None, ((Rank.NO_PRIOR_PERIOD, "no_prior_period"),), name)
        now, before = self._chain(name, self.lines, earlier.lines)
        # Figures per share have a code of their own (`per_share`), and neither they nor counts come in thousands.
        changed = name != "DilutedEPS" and earlier.currency != self.period.currency
        before = before.but(changed, Rank.CURRENCY_CHANGED, "currency_changed")
        resized = name not in ("DilutedEPS", SHARES) and earlier.unit != self.period.flows.unit
        before = before.but(resized, Rank.AMOUNT_UNIT, "amount_unit")
        return self._of_a_year(name, now, self.period.flows), self._of_a_year(name, before, earlier)

    @staticmethod
    def _of_a_year(name: str, figure: Figure, statement: Statement) -> Figure:
        return figure.but(_is_flow(name), Rank.PERIOD_LENGTH, "period_length") if statement.odd_length else figure

    def _chain(self, name: str, *sides: Mapping[str, tuple[date, float]]) -> list[Figure]:
        """The first line of `name` that every side has, at each of them."""
        if name not in NAMES:
            found = [side.get(name) for side in sides]
            if None not in found:
                return [Figure(line[1], (), name) for line in found if line]
        else:
            for terms in _lines_of(name):
                if all(key in side for side in sides for _, key in terms):
                    return [Figure(sum(sign * side[key][1] for sign, key in terms), (), name) for side in sides]
        return [Figure(None, ((Rank.MISSING, f"missing:{_lines_of(name)[0][0][1]}"),), name)] * len(sides)


@lru_cache(maxsize=256)
def _is_flow(name: str) -> bool:
    return _lines_of(name)[0][0][1] in _FLOWS


def mean_of(one: Figure, other: Figure) -> Figure:
    # Halved before they are added, so that the sum of two large figures stays finite.
    return one * 0.5 + other * 0.5


def growth_of(now: Figure, earlier: Figure, name: str) -> Figure:
    return now / positive(earlier, Rank.EARLIER_VALUE, name).named(name) - Figure(1.0)
