"""A file of regions and bands: for regular runs, and for what a producer is told to send. Pure but for `read` and `write`.

One line is one task: a region, and its market-cap band or nothing, which is the usual band. The same region may stand in
several lines with bands of their own. `#` begins a comment.

    us 300M 2B      # small companies
    us 2B 10B
    fr
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from config import SettingsError
from pipeline.wire.market_cap import parse_band
from pipeline.wire.regions import REGIONS, RegionBand


@dataclass(frozen=True)
class RegionLine:
    """One line. Without a band of its own both bounds are None."""

    code: str
    market_cap_min: str | None = None
    market_cap_max: str | None = None


def write(path: Path, tasks: Iterable[RegionBand]) -> None:
    """A file that `read` gives these tasks of."""
    path.write_text("".join(f"{task.code} {task.market_cap_min} {task.market_cap_max}\n" for task in tasks), encoding="utf-8")


def read(path: Path) -> list[RegionLine]:
    """The lines of a file, in order. Raises SettingsError that names file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--regions-file {path} can't be read: {error}") from error
    return parse(text, str(path))


def parse(text: str, name: str) -> list[RegionLine]:
    """The lines of a text that stands in the file `name`. Raises SettingsError that names file and line."""
    found: dict[RegionLine, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            entry = _entry(words)
        except SettingsError as error:
            raise SettingsError(f"{name}:{number}: {error}") from None
        if entry in found:
            raise SettingsError(f"{name}:{number}: {' '.join(words)} stands in line {found[entry]} already")
        found[entry] = number
    if not found:
        raise SettingsError(f"{name}: no region: expected lines such as fr, or fr 300M 2B")
    return list(found)


def _entry(words: list[str]) -> RegionLine:
    if len(words) not in (1, 3):
        raise SettingsError(f"{' '.join(words)!r}: expected a region, or a region and two bounds, such as fr 300M 2B")
    code = words[0].lower()
    if code not in REGIONS:
        raise SettingsError(f"region {words[0]!r} is unknown: expected one of {', '.join(REGIONS)}")
    if len(words) == 1:
        return RegionLine(code)
    # As plain numbers, so that 2B and 2000M are one band.
    low, high = parse_band(words[1], words[2])
    return RegionLine(code, str(low), str(high))
