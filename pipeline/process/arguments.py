"""Parses what users write on the command line and in regions files: ages, regions, bands. Pure, except for reading and writing files.

Each line of a regions file is one task: a region, and optionally its market-cap band (the default is the usual band). A band may
name its currency (`local` is the region's own). A region may have several lines with different bands. `#` begins a comment.

    us 300M 2B      # small companies
    us 2B 10B
    jp 50B 300B JPY
    fr
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from config import Settings, SettingsError, values
from pipeline.wire.market_cap import parse_band
from pipeline.wire.regions import REGIONS, AskedBand, RegionBand
from pipeline.wire.text import printable

#: Most bytes of a regions file.
LARGEST_FILE = 1_000_000
_AGE = re.compile(r"(\d{1,9})\s*([smhd])", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Parser(argparse.ArgumentParser):
    """A script's parser: its help keeps the lines of `description`, and an invalid argument is one line and exit code 2."""

    def __init__(self, description: str | None, **more: Any) -> None:
        super().__init__(description=description, formatter_class=argparse.RawDescriptionHelpFormatter, **more)

    def error(self, message: str) -> NoReturn:
        # The usage that argparse prints first is up to fifteen lines long, and the last of them is the one that says what is wrong.
        hint = "" if message.startswith("argument -") else f" ({self.prog} --help lists what there is)"
        self.exit(2, f"{self.prog}: {printable(message)}{hint}\n")


def whole(least: int, most: int) -> Callable[[str], int]:
    """The type of an argument that is a whole number within these bounds, both included, in ASCII digits."""

    def parse(text: str) -> int:
        if not (_WHOLE.fullmatch(text) and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from {least} to {most}")
        return int(text)

    return parse


def parse_age(text: str) -> float:
    """The type of an argument that is an age: `"90s"`, `"30m"`, `"2h"`, `"1d"` → seconds."""
    match = _AGE.fullmatch(text.strip().lower())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number followed by s, m, h or d, such as 30m")
    return float(match[1]) * _SECONDS[match[2]]


def add_region_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags for regions and bands, which the producer and `run_pipeline.py` share."""
    parser.add_argument(
        "--regions", metavar="CODES", help="comma-separated, such as us,fr, or all (default: the list in kafka_scraper_producer.py)"
    )
    parser.add_argument(
        "--regions-file", metavar="FILE", help="file of regions and bands, one task per line: fr, fr 300M 2B, or jp 50B 300B JPY"
    )
    parser.add_argument("--market-cap-min", metavar="AMOUNT", help="lower bound, such as 300M (default: MARKET_CAP_MIN)")
    parser.add_argument("--market-cap-max", metavar="AMOUNT", help="upper bound, such as 2B (default: MARKET_CAP_MAX)")
    parser.add_argument(
        "--market-cap-currency",
        metavar="CODE",
        help="currency of the bounds: an ISO code such as USD, or local for each region's own currency (default: MARKET_CAP_CURRENCY)",
    )


def chosen_regions(text: str | None, usual: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """`"us,fr"` → regions (`code`, `name`), without duplicates; `"all"` → all known regions; None → `usual`. Raises SettingsError."""
    if text is None:
        return list(usual)
    names = {region["code"]: region["name"] for region in usual}
    if text.strip().lower() == "all":
        text = ",".join(REGIONS)
    codes = list(dict.fromkeys(code.strip().lower() for code in text.split(",") if code.strip()))
    unknown = [code for code in codes if code not in REGIONS]
    if unknown or not codes:
        problem = f"unknown: {', '.join(unknown)}" if unknown else "no region is named"
        raise SettingsError(f"--regions {text!r}: {problem}; expected codes from {', '.join(REGIONS)}")
    return [{"code": code, "name": names.get(code, REGIONS[code])} for code in codes]


def asked_band(settings: Settings, code: str, low: str | None, high: str | None, currency: str | None) -> AskedBand:
    """A region's band. Settings replace what is None. Raises SettingsError for an unknown region or an invalid band."""
    if code not in REGIONS:
        raise SettingsError(f"region {code!r} is unknown: expected one of {', '.join(REGIONS)}")
    bounds = parse_band(low or settings.market_cap_min, high or settings.market_cap_max)
    money = values.currency(currency, "market-cap-currency") if currency else settings.market_cap_currency
    return AskedBand(code, *bounds, money)


def chosen_bands(arguments: argparse.Namespace, settings: Settings, usual: Sequence[dict[str, str]]) -> list[AskedBand]:
    """The bands that the flags ask for: one per region, or per line of the file. Raises SettingsError.

    `usual` are the regions to use if no flag names any.
    """
    low, high, currency = arguments.market_cap_min, arguments.market_cap_max, arguments.market_cap_currency
    if arguments.regions_file is None:
        return [asked_band(settings, region["code"], low, high, currency) for region in chosen_regions(arguments.regions, usual)]
    lines = read_regions(Path(arguments.regions_file), settings, low, high, currency)
    # If both flags are given, only the lines of these regions count.
    wanted = {region["code"] for region in chosen_regions(arguments.regions, usual)} if arguments.regions is not None else set(REGIONS)
    bands = [line for line in lines if line.code in wanted]
    if not bands:
        raise SettingsError(f"--regions {arguments.regions}: {arguments.regions_file} has no line for these regions")
    return bands


def region_names(codes: Iterable[str], usual: Sequence[dict[str, str]]) -> dict[str, str]:
    """Code → name: the user's own name in `usual`, else the site's."""
    named = {region["code"]: region["name"] for region in usual}
    return {code: named.get(code, REGIONS[code]) for code in codes}


def write_bands(path: Path, bands: Iterable[RegionBand]) -> None:
    """Write bands for `read_bands`. The file is JSON, because a band has an exchange rate and a regions file has no place for it."""
    path.write_text(json.dumps([band.as_json() for band in bands]), encoding="utf-8")


def read_bands(path: Path) -> list[RegionBand]:
    return [RegionBand.read(band) for band in json.loads(path.read_text(encoding="utf-8"))]


def read_regions(path: Path, settings: Settings, low: str | None, high: str | None, currency: str | None) -> list[AskedBand]:
    """The bands of a file, in order. Raises SettingsError with file and line.

    low, high, currency: for lines that do not give them. Settings replace what is None.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(LARGEST_FILE + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"--regions-file {path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}:{raw[: error.start].count(10) + 1}: not in UTF-8: save the file as UTF-8") from None
    if len(raw) > LARGEST_FILE:
        raise SettingsError(f"--regions-file {path} is larger than {LARGEST_FILE:,} bytes: expected lines such as fr 300M 2B")
    return parse_regions(text, str(path), lambda words: _parse_line(words, settings, low, high, currency))


def parse_regions(text: str, name: str, parse: Callable[[list[str]], AskedBand]) -> list[AskedBand]:
    """The bands in `text`, the content of the file `name`. Raises SettingsError with file and line.

    parse: the words of a line → its band.
    """
    found: dict[AskedBand, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            band = parse(words)
        except SettingsError as error:
            raise SettingsError(f"{name}:{number}: {error}") from None
        if band in found:
            raise SettingsError(f"{name}:{number}: {' '.join(words)} is in line {found[band]} already: remove one of them")
        found[band] = number
    if not found:
        raise SettingsError(f"{name}: no region: expected lines such as fr, fr 300M 2B, or jp 50B 300B JPY")
    return list(found)


def _parse_line(words: list[str], settings: Settings, low: str | None, high: str | None, currency: str | None) -> AskedBand:
    if len(words) not in (1, 3, 4):
        raise SettingsError(f"{' '.join(words)!r}: expected a region, or a region and two bounds, such as fr 300M 2B or jp 50B 300B JPY")
    if len(words) > 1:
        low, high = words[1:3]
    return asked_band(settings, words[0].lower(), low, high, words[3] if len(words) > 3 else currency)
