"""The made-up companies: pure, deterministic from a seed, independent of today's date."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property

from local.market import prices, sizes, statements
from local.market.events import Event, Schedule
from local.market.naming import Namer
from local.market.regions import EXCHANGES, Exchange, day_of, major, rate, units
from local.market.sizes import BAND_HIGH, BAND_LOW, at_least, at_most, log_uniform
from local.market.statements import Statements

#: Share of the band's companies in each of the five regions.
REGION_SHARES = {"us": 0.40, "jp": 0.19, "gb": 0.15, "fr": 0.13, "de": 0.13}

#: Trait, the region it wants (None: any of the five), how many at 300 stocks. Each gets at least one company while there are enough.
SPECIALS: tuple[tuple[str, str | None, int], ...] = (
    ("bank", None, 14),
    ("insurance", None, 6),
    ("pence_market_cap", "gb", 3),
    ("foreign_statements", "gb", 6),
    ("foreign_statements", None, 6),
    ("adr", "us", 5),
    ("negative_equity", None, 6),
    ("loss", None, 20),
    ("half_yearly", "gb", 8),
    ("half_yearly", "fr", 5),
    ("missing_year", None, 4),
    ("missing_statement", None, 5),
    ("no_statements", None, 4),
    ("split_restated", None, 6),
    ("split_not_restated", None, 4),
    ("gone", None, 3),
    ("same_name", None, 2),
    ("markup_name", None, 1),
    ("non_latin_name", "jp", 5),
    ("spreadsheet_formula_name", None, 1),
    ("currency_changed", "fr", 2),
    ("at_lower_bound", None, 2),
    ("at_upper_bound", None, 2),
    ("dollar_listing", "gb", 2),
)

#: Traits that many companies have besides, with the chance of each.
COMMON_TRAITS = {
    "zero_inventory": 0.08,
    "zero_debt": 0.08,
    "no_dividends": 0.35,
    "sparse_fifth_year": 0.2,
    "stale_trailing": 0.3,
    "no_trailing": 0.06,
    "missing_point": 0.08,
    "preferred": 0.07,
    "minority": 0.2,
    "interest_not_disclosed": 0.05,
}

INDUSTRIES = (
    ("Technology", "Software - Application"),
    ("Technology", "Semiconductors"),
    ("Industrials", "Specialty Industrial Machinery"),
    ("Industrials", "Trucking"),
    ("Healthcare", "Medical Devices"),
    ("Consumer Cyclical", "Apparel Retail"),
    ("Consumer Defensive", "Packaged Foods"),
    ("Basic Materials", "Specialty Chemicals"),
    ("Energy", "Oil & Gas E&P"),
    ("Utilities", "Utilities - Regulated Electric"),
    ("Communication Services", "Publishing"),
)

_PRICE_RANGE = {
    **{"USD": (4, 160), "EUR": (3, 120), "GBp": (40, 3200), "JPY": (250, 6500), "SEK": (20, 400), "CHF": (8, 300)},
    **{"KRW": (1500, 300_000), "IDR": (80, 12_000), "KWF": (150, 4000), "VES": (5, 900)},
}
#: Prices without a decimal point.
_WHOLE_PRICES = frozenset({"JPY", "KRW", "IDR"})


@dataclass(frozen=True)
class Company:
    """One made-up company. `market_cap` is what the screener compares and shows, in the listing currency's major unit."""

    symbol: str
    name: str
    region: str
    sector: str
    industry: str
    #: Of the quote; GBp in London.
    currency: str
    financial_currency: str
    market_cap: float
    #: Last close, in `currency`.
    price: float
    #: Listed units: market cap over price in the major unit. Of an ADR these are not the ordinary shares.
    shares: int
    #: Month in which the fiscal year ends.
    fiscal_month: int
    traits: frozenset[str]
    seed: str = field(repr=False)
    #: The market's day that this company is seen on, and what was to happen to it until then.
    day: int = 0
    schedule: Schedule = field(default=Schedule(), repr=False, compare=False)
    #: Itself on day 0; None if this is day 0.
    start: Company | None = field(default=None, repr=False, compare=False)
    #: Closes of the days after day 0, not restated for splits.
    moves: tuple[float, ...] = field(default=(), repr=False, compare=False)

    @property
    def origin(self) -> Company:
        """Itself on day 0, from which every other day follows."""
        return self.start or self

    @property
    def today(self) -> date:
        return day_of(self.day)

    @property
    def exchange(self) -> Exchange:
        return EXCHANGES[self.region]

    @property
    def quoted_market_cap(self) -> float:
        """`marketCap` as the quote has it: of some London stocks it is in pence."""
        return self.market_cap * units(self.currency) if "pence_market_cap" in self.traits else self.market_cap

    @property
    def shares_per_unit(self) -> int:
        """Ordinary shares that one listed unit stands for."""
        return 4 if "adr" in self.traits else 1

    @property
    def market_cap_usd(self) -> float:
        """Market value in dollars at the rate that the site quotes today."""
        return self.market_cap / float(sizes.per_dollar(self.currency, self.today))

    @property
    def statement_market_cap(self) -> float:
        """Market value in the statements' currency, today."""
        return self.market_cap * rate(major(self.currency), self.financial_currency, self.today)

    @cached_property
    def statements(self) -> Statements:
        return statements.build(self)

    @cached_property
    def announced(self) -> Statements:
        """As `statements`, with the figures that were announced and are not in the statements yet."""
        return statements.build(self, announced=True) if self.schedule.outstanding(self.day) else self.statements

    @cached_property
    def prices(self) -> prices.Prices:
        return prices.build(self)


class Market:
    """All companies of one seed, on one day."""

    def __init__(self, companies: Iterable[Company], stocks: int, seed: int, day: int = 0) -> None:
        self.companies: tuple[Company, ...] = tuple(companies)
        self.stocks = stocks
        self.seed = seed
        self.day = day
        self.today = day_of(day)
        self._by_symbol = {company.symbol: company for company in self.companies}

    def company(self, symbol: str) -> Company | None:
        """The company of that symbol, in whatever case it is written, or None."""
        return self._by_symbol.get(symbol.upper())

    def in_band(self, region_code: str, low: float, high: float) -> list[Company]:
        """Companies that the site lists in a region between `low` and `high`, both included; by symbol.

        The site compares each listing's market cap in the listing's own currency with the bounds as they are, as the page does.
        """
        found = [company for company in self.companies if company.region == region_code and low <= company.market_cap <= high]
        return sorted(found, key=lambda company: company.symbol)

    def in_dollars(self, region_code: str, low: int, high: int) -> list[Company]:
        """Companies of a region that are worth `low` to `high` dollars, both included: what a band in dollars means; by symbol."""
        found = [
            company
            for company in self.companies
            if company.region == region_code
            and at_least(low, company.currency, self.today) <= company.market_cap <= at_most(high, company.currency, self.today)
        ]
        return sorted(found, key=lambda company: company.symbol)

    def events(self, day: int) -> list[Event]:
        """What happens to the companies on a day, whatever day the market stands on."""
        return [Event(company.symbol, name) for company in self.companies for name in company.schedule.on(day)]

    def with_trait(self, trait: str) -> list[Company]:
        return [company for company in self.companies if trait in company.traits]


def build_market(stocks: int = 300, seed: int = 1, day: int = 0) -> Market:
    """Companies for `stocks` listings inside the band of the five regions, others outside it, and some in further regions.

    `day` counts from MARKET_DAY: what was reported, split or restated by then is in them, and so are its prices.
    """
    rng = random.Random(f"market:{seed}")
    namer = Namer(rng)
    regions = _spread(stocks)
    rng.shuffle(regions)
    specials = _assign_specials(regions, stocks, rng)
    beside = {region: list(sizes.just_inside(EXCHANGES[region].currency)) for region in REGION_SHARES}
    companies = []
    for region, special in zip(regions, specials, strict=True):
        drawn = log_uniform(rng, BAND_LOW + 1, BAND_HIGH - 1)
        currency = EXCHANGES[region].currency
        if "dollar_listing" in special:
            # Of numbers that lie within the band in pounds too, so that the site lists them.
            currency, cap = "USD", min(max(drawn, 400_000_000), 1_200_000_000)
        elif "at_lower_bound" in special:
            cap = at_least(BAND_LOW, currency)
        elif "at_upper_bound" in special:
            cap = at_most(BAND_HIGH, currency)
        else:
            cap = beside[region].pop() if beside[region] else at_least(drawn, currency)
        companies.append(_company(namer, rng, seed, region, currency, cap, special))
    for i, region in enumerate(_spread(round(stocks * 0.2))):
        currency = EXCHANGES[region].currency
        # The first two lie right beside the band, where an exclusive or rounded comparison would go wrong.
        if i < 2:
            cap = (at_least(BAND_LOW, currency) - 1, at_most(BAND_HIGH, currency) + 1)[i]
        else:
            dollars = log_uniform(rng, 20_000_000, BAND_LOW - 1) if i % 2 else log_uniform(rng, BAND_HIGH + 1, 90_000_000_000)
            cap = at_most(dollars, currency)
        companies.append(_company(namer, rng, seed, region, currency, cap, set()))
    for region, currency, cap in sizes.outside_by_region(rng):
        special = {"dollar_listing"} if currency != EXCHANGES[region].currency else set()
        companies.append(_company(namer, rng, seed, region, currency, cap, special))
    for region, cap in sizes.of_further_regions(rng):
        companies.append(_company(namer, rng, seed, region, EXCHANGES[region].currency, cap, set()))
    named = _name_twins([*companies, *_listed_in_three(namer, rng, seed)])
    slots = list(range(len(named)))
    random.Random(f"days:{seed}").shuffle(slots)
    scheduled = [replace(company, schedule=Schedule.of(company, slot)) for company, slot in zip(named, slots, strict=True)]
    return Market([later(company, day) for company in scheduled] if day else scheduled, stocks, seed, day)


def later(company: Company, day: int) -> Company:
    """A company of day 0 as it is on a later day.

    It stays within the band in dollars, or out of it: `--stocks` says how many there are on each day. A step that would cross a bound
    goes the other way.
    """
    rng = random.Random(f"{company.seed}:moves")
    inside = sizes.within_band(company.market_cap, company.currency, day_of(0))
    cap, moves = float(company.market_cap), []
    issued = company.schedule.issued(company, day)
    for number in range(1, day + 1):
        step = 1 + 0.0002 + 0.016 * (rng.random() + rng.random() - 1)
        # The last two: the rate alone can carry a company over a bound.
        ways = (cap * way for way in (step, 1 / step, 1.01, 1 / 1.01))
        cap = next((way for way in ways if sizes.within_band(round(way), company.currency, day_of(number)) == inside), cap)
        moves.append(cap * units(company.currency) / (company.shares * issued[number]))
    shares = company.shares * issued[day]
    return replace(
        company,
        day=day,
        start=company,
        moves=tuple(moves),
        market_cap=round(cap),
        shares=round(shares * company.schedule.factor(day, counted=True)),
        price=prices.rounded(company, moves[-1] / company.schedule.factor(day)),
    )


def _listed_in_three(namer: Namer, rng: random.Random, seed: int) -> list[Company]:
    """One company with listings in three countries, each with the same market value in the currency of its own exchange."""
    listings = []
    for region in ("kr", "id", "kw"):
        currency = EXCHANGES[region].currency
        listings.append(_company(namer, rng, seed, region, currency, at_least(900_000_000, currency), {"listed_in_three"}))
    return [replace(listing, name=listings[0].name) for listing in listings]


def _spread(count: int) -> list[str]:
    """`count` region codes in the proportions of REGION_SHARES; the largest region takes what rounding leaves."""
    others = [code for code in REGION_SHARES if code != "us"]
    spread = [code for code in others for _ in range(int(count * REGION_SHARES[code]))]
    return ["us"] * (count - len(spread)) + spread


def _assign_specials(regions: list[str], stocks: int, rng: random.Random) -> list[set[str]]:
    """One set of special traits a slot; no slot gets two, so that a test of one trait is not disturbed by another."""
    assigned: list[set[str]] = [set() for _ in regions]
    free = list(range(len(regions)))
    rng.shuffle(free)
    # First one of each, then the rest: a small market still has every kind.
    wanted = [(trait, region) for trait, region, _ in SPECIALS]
    wanted.append(("same_name", None))
    wanted += [
        (trait, region) for trait, region, count in SPECIALS if trait != "same_name" for _ in range(max(1, round(count * stocks / 300)) - 1)
    ]
    for trait, region in wanted:
        slot = next((i for i in free if region in (None, regions[i])), None)
        if slot is not None:
            free.remove(slot)
            assigned[slot].add(trait)
    return assigned


def _company(namer: Namer, rng: random.Random, seed: int, region: str, currency: str, cap: int, special: set[str]) -> Company:
    exchange = EXCHANGES[region]
    traits = set(special)
    traits |= {trait for trait, chance in COMMON_TRAITS.items() if rng.random() < chance}
    if special & {"bank", "insurance"}:
        traits -= {"zero_inventory", "zero_debt", "missing_point", "interest_not_disclosed"}
    if currency == "GBp":
        traits.add("pence")
    financial_currency = major(currency)
    if "foreign_statements" in traits:
        financial_currency = "EUR" if financial_currency == "USD" else "USD"
    elif "adr" in traits:
        financial_currency = rng.choice(("JPY", "EUR", "CHF"))
        traits.add("foreign_statements")
    sector, industry = rng.choice(INDUSTRIES)
    if "bank" in traits:
        sector, industry = "Financial Services", rng.choice(("Banks - Regional", "Banks - Diversified"))
    elif "insurance" in traits:
        sector, industry = "Financial Services", rng.choice(("Insurance - Life", "Insurance - Property & Casualty"))
    symbol = namer.symbol(region)
    low, high = _PRICE_RANGE[currency]
    price = round(log_uniform(rng, low * 100, high * 100) / 100, 0 if currency in _WHOLE_PRICES else 2)
    shares = round(cap * units(currency) / price)
    fiscal_month = rng.choice((3, 3, 3, 12)) if region == "jp" else rng.choice((12, 12, 12, 12, 6, 9, 1))
    return Company(
        symbol=symbol,
        name=namer.name(exchange, traits),
        region=region,
        sector=sector,
        industry=industry,
        currency=currency,
        financial_currency=financial_currency,
        market_cap=cap,
        price=price,
        shares=shares,
        fiscal_month=fiscal_month,
        traits=frozenset(traits),
        seed=f"{seed}:{symbol}",
    )


def _name_twins(companies: list[Company]) -> list[Company]:
    """Give the companies of trait `same_name` the name of the first of them."""
    first = next((company for company in companies if "same_name" in company.traits), None)
    if first is None:
        return companies
    return [replace(company, name=first.name) if "same_name" in company.traits else company for company in companies]
