"""Names and symbols that are plainly made up, unlike any listed company's on purpose."""

from __future__ import annotations

import random
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from local.market.regions import EXCHANGES, Exchange

_HEADS = ("Zor", "Quib", "Vlen", "Brax", "Plim", "Yond", "Krov", "Snar", "Fluv", "Grum", "Twop", "Oblo", "Xan", "Murv", "Dwep", "Jubb")
_TAILS = ("vanex", "bleton", "drillo", "mosk", "pantor", "quill", "fennig", "gollop", "wimble", "zandra", "kettle", "rumba", "noodle")
_TRADES = ("Works", "Holdings", "Instruments", "Foods", "Logistics", "Materials", "Systems", "Energy", "Brands", "Tools", "Labs", "Lines")
_NON_LATIN = ("架空商事", "架空製作所ゾルバ", "カクウ電機クイブ", "空想化学プリム", "仮想食品ヨンド", "架空運輸スナー", "空想銀行グラム")
_LETTERS = "BCDFGHJKLMNPQRSTVWXYZ"
#: In every symbol of letters: next to no listed company's symbol has one of these.
_PAIRS = ("ZQ", "QZ", "XQ", "QX", "ZX", "XZ", "QJ", "JQ")


class Namer:
    """Hands out symbols and names, none twice."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._taken: set[str] = set()

    def symbol(self, region: str) -> str:
        rng = self._rng

        def draw() -> str:
            if region == "jp":
                # Tokyo's codes start at 1300: one with a leading zero is no real company's, and tests code that takes them for numbers.
                return f"0{rng.randrange(1000):03d}" if rng.random() < 0.6 else f"0{rng.randrange(100):02d}{rng.choice(_LETTERS)}"
            length = 3 if region == "gb" and rng.random() < 0.3 else 4
            letters = "".join(rng.choices(_LETTERS, k=length - 2))
            place = rng.randrange(length - 1)
            letters = letters[:place] + rng.choice(_PAIRS) + letters[place:]
            return letters + ("-B" if region in ("us", "se") and rng.random() < 0.04 else "")

        suffix = EXCHANGES[region].suffix
        return self._unique(lambda: draw() + suffix, spare=lambda: f"Z{rng.randrange(10**6):06d}{suffix}")

    def name(self, exchange: Exchange, traits: AbstractSet[str]) -> str:
        rng = self._rng
        if "markup_name" in traits:
            return '<b>Bold</b> & "Co" <script>alert(1)</script>'
        if "spreadsheet_formula_name" in traits:
            return "=cmd|' /C calc'!A0"
        if "non_latin_name" in traits:
            return self._unique(lambda: f"{rng.choice(_NON_LATIN)}{rng.randrange(1, 99)}号")
        trade = "Insurance" if "insurance" in traits else "Bank" if "bank" in traits else rng.choice(_TRADES)
        return self._unique(
            lambda: f"{rng.choice(_HEADS)}{rng.choice(_TAILS)} {trade} {exchange.form}",
            spare=lambda: f"{rng.choice(_HEADS)}{rng.choice(_TAILS)} {trade} {rng.randrange(10**6)} {exchange.form}",
        )

    def _unique(self, draw: Callable[[], str], spare: Callable[[], str] | None = None) -> str:
        for attempt in range(10_000):
            text = draw() if attempt < 20 or spare is None else spare()
            if text not in self._taken:
                self._taken.add(text)
                return text
        raise ValueError("no further names: ask for fewer stocks")
