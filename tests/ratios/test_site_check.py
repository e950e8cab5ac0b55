from pipeline.ratios.site_check import check

MARKET = {"quote_currency": "USD", "price": 10.0, "shares_outstanding": 100.0, "quoted_market_cap": 1000.0}


def row(values, site, currency="USD", **market):
    return ("A", currency, values, {"site_ratios": site, "market": MARKET | market})


def test_ratios_that_agree_within_5_percent_are_only_counted():
    found = check([row({"price_to_book": 2.0, "net_margin": 0.1}, {"priceToBook": 2.09, "profitMargins": 0.1})])
    assert (found.compared, found.differ) == (2, 0)


def test_ratios_that_one_side_lacks_are_not_compared():
    found = check([row({"price_to_book": None, "net_margin": 0.1}, {"priceToBook": 2.0}), ("B", "USD", {}, {})])
    assert found.compared == 0


def test_rounding_of_a_tiny_margin_is_not_a_difference():
    assert check([row({"net_margin": 0.0004}, {"profitMargins": 0.0009})]).differ == 0


def test_a_factor_of_100_on_a_stock_in_pence_is_named():
    found = check([row({"price_to_book": 18.0}, {"priceToBook": 1806.0}, "GBP", quote_currency="GBp", quoted_market_cap=10.0)])
    assert list(found.reasons) == ["pence: the site's ratio is 100 times off"]


def test_a_mix_of_two_currencies_is_named():
    found = check([row({"price_to_book": 6.9}, {"priceToBook": 573.0}, "USD", quote_currency="INR", rate=0.012)])
    assert next(iter(found.reasons)).startswith("currency")


def test_a_count_of_only_one_share_class_is_named():
    found = check([row({"price_to_book": 2.0}, {"priceToBook": 1.0}, quoted_market_cap=2000.0)])
    assert next(iter(found.reasons)).startswith("share classes")


def test_a_cause_that_does_not_explain_the_difference_is_not_named():
    pence = row({"price_to_book": 18.0}, {"priceToBook": 1300.0}, "GBP", quote_currency="GBp", quoted_market_cap=10.0)
    currencies = row({"price_to_book": 6.9}, {"priceToBook": 400.0}, "USD", quote_currency="INR", rate=0.012)
    shares = row({"price_to_book": 2.0}, {"priceToBook": 1.5}, quoted_market_cap=2000.0)
    earnings = row({"price_to_earnings": 10.0}, {"trailingPE": 20.0})
    assert check([pence, currencies, shares, earnings]).reasons == {"unexplained": 4}


def lines(ratio, ours, name, theirs, lines, **inputs):
    return ("A", "USD", {ratio: ours}, {"site_ratios": {name: theirs}, "market": MARKET, "lines": lines, **inputs})


def test_a_different_definition_at_the_site_is_named():
    end, before = "2026-06-30", "2025-06-30"
    quarter = lines("operating_margin", 0.1, "operatingMargins", 0.2, {}, newest_quarter={"OperatingIncome": 20, "TotalRevenue": 100})
    receivables = {key: {end: value} for key, value in (("CashAndCashEquivalents", 10), ("Receivables", 30), ("CurrentLiabilities", 20))}
    quick = lines("quick_ratio", 1.5, "quickRatio", 2.0, receivables)
    assets = lines("return_on_assets", 0.1, "returnOnAssets", 0.05, {"TotalAssets": {end: 120, before: 80}, "OperatingIncome": {end: 8}})
    eps = lines("price_to_earnings", 8.0, "trailingPE", 10.0, {"DilutedEPS": {end: 1.0}})
    assert [reason.split(":")[0] for reason in check([quarter, quick, assets, eps]).reasons] == [
        "quarter",
        "receivables",
        "definition",
        "per share",
    ]


def test_other_differences_are_unexplained_and_have_an_example():
    found = check([row({"current_ratio": 2.0}, {"currentRatio": 1.0})])
    assert found.summary() == {"compared": 1, "differ": 1, "by_reason": {"unexplained": 1}}
    assert "A current_ratio: 2 here, 1 there" in found.text()
