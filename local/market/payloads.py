"""JSON bodies of the endpoints, from companies: pure, and cached where building them costs something."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timezone
from functools import lru_cache
from typing import Any

from local.market import prices
from local.market.companies import Company
from local.market.regions import CURRENCIES, EXCHANGES, MARKET_DAY, REGIONS, units
from local.market.statements import Point

_PERIOD_TYPES = {"annual": "12M", "quarterly": "3M", "trailing": "TTM"}
_LABEL = "This company is made up: it exists only in the local market, for trying out and testing."


def encode(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


@lru_cache(maxsize=4096)
def _epoch(day: date) -> int:
    return int(datetime.combine(day, time(0), timezone.utc).timestamp())


# Timeseries


@lru_cache(maxsize=8192)
def _series_fragments(company: Company) -> dict[str, bytes]:
    """Encoded result element of every type that has data; a request is then answered by joining them."""
    fragments = {}
    for prefix, series in _frequencies(company):
        for key, points in series.items():
            if points:
                fragments[prefix + key] = _series(company.symbol, prefix, key, points)
    return fragments


def _frequencies(company: Company) -> list[tuple[str, dict[str, list[Point]]]]:
    statements = company.statements
    return [("annual", statements.annual), ("quarterly", statements.quarterly), ("trailing", statements.trailing)]


def _series(symbol: str, prefix: str, key: str, points: Sequence[Point]) -> bytes:
    """One result element. Written as text: for each company there are 110 of them, and 450 points."""
    name, period = prefix + key, _PERIOD_TYPES[prefix]
    stamps = ",".join(str(_epoch(point.day)) for point in points)
    values = ",".join(
        f'{{"asOfDate":"{point.day}","periodType":"{period}","currencyCode":"{point.currency}",'
        f'"reportedValue":{{"raw":{point.value!r},"fmt":"{point.value:,.2f}"}}}}'
        for point in points
    )
    return f'{{"meta":{{"symbol":[{json.dumps(symbol)}],"type":["{name}"]}},"timestamp":[{stamps}],"{name}":[{values}]}}'.encode()


def timeseries(company: Company | None, symbol: str, types: Iterable[str], start: int, end: int) -> bytes:
    """Body for the types asked for, points within `start` and `end` (epoch seconds). A type without data has its meta only."""
    parts = []
    fragments = _series_fragments(company) if company else {}
    if company and (start > _epoch(date(2019, 1, 1)) or end < _epoch(company.today)):
        fragments = {
            prefix + key: _series(company.symbol, prefix, key, kept)
            for prefix, series in _frequencies(company)
            for key, points in series.items()
            if (kept := [point for point in points if start <= _epoch(point.day) <= end])
        }
    for name in types:
        parts.append(fragments.get(name) or encode({"meta": {"symbol": [symbol], "type": [name]}}))
    return b'{"timeseries":{"result":[' + b",".join(parts) + b'],"error":null}}'


# Quotes


@lru_cache(maxsize=8192)
def quote(company: Company) -> dict[str, Any]:
    """What `/v7/finance/quote` and the screener say of a company. Do not change the result: it is shared."""
    year = company.prices.closes[-261:]
    previous = year[-2]
    eps, book = _per_listed_share(company)
    volume = int(company.shares * 0.003) + len(company.name)
    return {
        "language": "en-US",
        "region": "US",
        "quoteType": "EQUITY",
        "symbol": company.symbol,
        "shortName": company.name[:31],
        "longName": company.name,
        "currency": company.currency,
        "financialCurrency": company.financial_currency,
        "exchange": company.exchange.code,
        "fullExchangeName": company.exchange.name,
        "exchangeTimezoneName": company.exchange.timezone,
        "market": f"{company.region}_market",
        "marketState": "CLOSED",
        "regularMarketPrice": company.price,
        "regularMarketPreviousClose": previous,
        "regularMarketChange": round(company.price - previous, 4),
        "regularMarketChangePercent": round((company.price / previous - 1) * 100, 4),
        "regularMarketTime": _market_time(company.region, company.today),
        "regularMarketVolume": volume,
        "averageDailyVolume3Month": volume + volume // 7,
        "marketCap": round(company.quoted_market_cap),
        "sharesOutstanding": company.shares,
        "fiftyTwoWeekHigh": max(year),
        "fiftyTwoWeekLow": min(year),
        "fiftyTwoWeekChangePercent": round((company.price / year[0] - 1) * 100, 4),
        **_known(
            epsTrailingTwelveMonths=eps,
            trailingPE=_ratio(company.price, eps if eps and eps > 0 else None),
            bookValue=book,
            # The site divides pence by pounds, and one currency by another.
            priceToBook=_ratio(company.price, book),
        ),
        **company.schedule.earnings_times(company.day),
    }


def _market_time(region: str, today: date) -> int:
    exchange = EXCHANGES[region]
    return prices.timestamps(exchange.timezone, exchange.opens, today)[-1] + 7 * 3600


def _per_listed_share(company: Company) -> tuple[float | None, float | None]:
    """Earnings a share in the quote's own unit, as the site has them; book value a share in the statements' currency."""
    statements = company.announced
    earnings, equity = statements.latest("NetIncomeCommonStockholders"), statements.latest("CommonStockEquity")
    unit = company.market_cap / company.statement_market_cap * units(company.currency)
    eps = None if earnings is None else round(earnings / company.shares * unit, 4)
    return eps, None if equity is None else round(equity / company.shares, 4)


def _ratio(numerator: float | None, denominator: float | None) -> float | None:
    return None if numerator is None or not denominator else round(numerator / denominator, 6)


def _newest(company: Company, key: str) -> float | None:
    """The newest quarter's figure."""
    points = company.statements.quarterly.get(key)
    return points[-1].value if points else None


def _return_on_assets(company: Company) -> float | None:
    """By the site's own definition: operating income less 37.5 % over mean assets."""
    profit, points = company.statements.latest("OperatingIncome"), company.statements.quarterly.get("TotalAssets", [])
    if profit is None or not points:
        return None
    year_before = [point.value for point in points if 350 <= (points[-1].day - point.day).days <= 380]
    return _ratio(profit * 0.625, (points[-1].value + (year_before or [points[-1].value])[0]) / 2)


def _known(**fields: float | None) -> dict[str, float]:
    return {name: value for name, value in fields.items() if value is not None}


def currency_quote(symbol: str, today: date = MARKET_DAY) -> dict[str, Any] | None:
    """Quote of `XXXYYY=X` (or `YYY=X`, from dollars), or None if it is not a pair of known currencies.

    Without a time: the site's rates are of the moment, and who runs on another day than the market's would find them old.
    """
    pair = currency_pair(symbol)
    if pair is None:
        return None
    rates = prices.exchange_rates(*pair, today)
    return {
        "quoteType": "CURRENCY",
        "symbol": symbol,
        "shortName": "/".join(pair),
        "currency": pair[1],
        "exchange": "CCY",
        "fullExchangeName": "CCY (made up)",
        "exchangeTimezoneName": "Europe/London",
        "regularMarketPrice": rates[-1],
        "regularMarketPreviousClose": rates[-2],
    }


def currency_pair(symbol: str) -> tuple[str, str] | None:
    name = symbol.removesuffix("=X")
    if name == symbol:
        return None
    source, target = (name[:3], name[3:]) if len(name) == 6 else ("USD", name)
    return (source, target) if source in CURRENCIES and target in CURRENCIES and source != target else None


# Quote summary


def quote_summary(company: Company, modules: Iterable[str]) -> dict[str, Any]:
    """The modules asked for that the market knows; flat numbers, as with formatted=false."""
    known = _modules(company)
    return {"quoteSummary": {"result": [{name: known[name] for name in modules if name in known}], "error": None}}


@lru_cache(maxsize=2048)
def _modules(company: Company) -> dict[str, dict[str, Any]]:
    listed = quote(company)
    return {
        "quoteType": {key: listed[key] for key in ("symbol", "shortName", "longName", "quoteType", "exchange")}
        | {"timeZoneFullName": company.exchange.timezone, "exchangeTimezoneName": company.exchange.timezone},
        "price": {
            key: listed[key] for key in ("symbol", "shortName", "longName", "currency", "exchange", "marketCap", "regularMarketPrice")
        }
        | {"exchangeName": company.exchange.name},
        "assetProfile": {
            "country": REGIONS[company.region],
            "sector": company.sector,
            "industry": company.industry,
            "longBusinessSummary": f"{company.name}. {_LABEL}",
            "companyOfficers": [],
            "maxAge": 86400,
        },
        "summaryDetail": {
            "currency": company.currency,
            "marketCap": listed["marketCap"],
            "previousClose": listed["regularMarketPreviousClose"],
            "volume": listed["regularMarketVolume"],
            **_known(
                trailingPE=listed.get("trailingPE"),
                priceToSalesTrailing12Months=_ratio(listed["marketCap"], company.statements.latest("TotalRevenue")),
            ),
        },
        "defaultKeyStatistics": _key_statistics(company, listed),
        "financialData": _financial_data(company),
    }


def _key_statistics(company: Company, listed: dict[str, Any]) -> dict[str, Any]:
    of = company.statements.latest
    return {
        "sharesOutstanding": company.shares,
        **_known(
            bookValue=listed.get("bookValue"),
            priceToBook=listed.get("priceToBook"),
            trailingEps=listed.get("epsTrailingTwelveMonths"),
            netIncomeToCommon=of("NetIncomeCommonStockholders"),
            profitMargins=_ratio(of("NetIncome"), of("TotalRevenue")),
        ),
    }


def _financial_data(company: Company) -> dict[str, Any]:
    of = company.statements.latest
    revenue, net, equity, debt = of("TotalRevenue"), of("NetIncome"), of("StockholdersEquity"), of("TotalDebt")
    return {
        "financialCurrency": company.financial_currency,
        "currentPrice": company.price,
        **_known(
            totalCash=of("CashCashEquivalentsAndShortTermInvestments"),
            totalDebt=debt,
            totalRevenue=revenue,
            ebitda=of("EBITDA"),
            grossProfits=of("GrossProfit"),
            freeCashflow=of("FreeCashFlow"),
            operatingCashflow=of("OperatingCashFlow"),
            currentRatio=_ratio(of("CurrentAssets"), of("CurrentLiabilities")),
            # In percent, unlike every other ratio here.
            debtToEquity=None if debt is None or not equity else round(debt / equity * 100, 3),
            grossMargins=_ratio(of("GrossProfit"), revenue),
            # Of the newest quarter, unlike the other margins.
            operatingMargins=_ratio(_newest(company, "OperatingIncome"), _newest(company, "TotalRevenue")),
            ebitdaMargins=_ratio(of("EBITDA"), revenue),
            profitMargins=_ratio(net, revenue),
            returnOnEquity=_ratio(net, equity),
            returnOnAssets=_return_on_assets(company),
        ),
    }
