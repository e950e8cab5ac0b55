"""Switches of the screener page: how it gets its rows, what it looks like, what is odd in its list, what stands in the way.

Each is one situation that was met in public reports (docs/operations.md, "When the site's page changes").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Switch(NamedTuple):
    """choices: the values of a text switch; None for a number or a boolean, which has the type of `default`."""

    default: Any
    meaning: str
    choices: tuple[str, ...] | None = None

    def expected(self) -> str:
        """Its values for --help, the default first."""
        if isinstance(self.default, bool):
            return "false or true" if self.default is False else "true or false"
        named = [choice for choice in self.choices or () if choice != self.default]
        return " or ".join([str(self.default) or "unset", *named])


SWITCHES: dict[str, Switch] = {
    "data": Switch(
        "post",
        "rows by the page's own POST, the first ones embedded in the page, or as pieces of HTML without any crumb",
        ("post", "embedded", "html"),
    ),
    "embedded_as": Switch("sveltekit", "attributes of the script that holds the embedded answer", ("sveltekit", "plain")),
    "shape": Switch("quotes", "name of the rows in an answer", ("quotes", "records")),
    "numbers": Switch("plain", "numbers as they are, or as objects with raw and fmt", ("plain", "formatted")),
    "menu": Switch("", "filter menu, in place of --menu's; none: no filter at all, only the table", ("", "1", "2", "none")),
    "crumb_lasts": Switch(0, "answers after which the page's crumb is refused and a new one is good (0: never)"),
    "first_text": Switch("", "zero: the page shows 0 results while a request is under way", ("", "zero")),
    "empty": Switch("total", "how the page says that a region is empty: by a total of 0, or by a sentence alone", ("total", "sentence")),
    "options_after_ms": Switch(0, "milliseconds by which the region's options come later than the menu; Apply is enabled before them"),
    "overlay": Switch(False, "a dialog lies over the page and swallows every click outside its own close button"),
    "chips": Switch(True, "the page names the filters that are on"),
    "test_ids": Switch(True, "the table's cells have test ids"),
    "total_words": Switch("en", "language of the total", ("en", "de")),
    "no_symbol": Switch(False, "one company of each list has no symbol"),
    "doubled": Switch(False, "one company of each list is listed twice, and the total counts it twice"),
    "dash_names": Switch(False, "two companies of each list are called --, one of them everywhere"),
    "odd_symbols": Switch(False, "some companies of each list have symbols and names with odd characters"),
    "funds": Switch(False, "one row of each list is not an equity"),
    "total_off": Switch(0, "this number is added to each total"),
    "page_status": Switch(200, "status of the page, with a refusal in other words; 200 leaves the page as it is"),
    "page_words": Switch("", "the page is this text, with the status page_status"),
    "rows_status": Switch(200, "status of every request for rows"),
    "rows_before": Switch(0, "this many requests for rows are answered as usual before rows_status applies"),
    "consent": Switch(
        "plain", "the consent page: short, in German and tall, or with its buttons behind a scroll button", ("plain", "german", "scroll")
    ),
}


class Switches:
    """The values of all switches, and the counts that some of them need."""

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        self.replace(values or {})

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def replace(self, values: Mapping[str, Any]) -> None:
        """Use these values, and the defaults of all other switches. Raises ValueError that says what is expected."""
        found = {name: switch.default for name, switch in SWITCHES.items()}
        for name, value in values.items():
            found[name] = _checked(name, value)
        self._values = found
        self.rows_left = found["rows_before"]

    def values(self) -> dict[str, Any]:
        return dict(self._values)

    def changed(self) -> dict[str, Any]:
        return {name: value for name, value in self._values.items() if value != SWITCHES[name].default}

    def status_of_rows(self) -> int:
        """The status of the next request for rows."""
        if self.rows_left > 0:
            self.rows_left -= 1
            return 200
        return int(self["rows_status"])


def parse(text: str) -> dict[str, Any]:
    """Values from "data=html,overlay=true"; empty text is none. Raises ValueError."""
    pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    return {name: _checked(name, value) for name, _, value in pairs}


def _checked(name: str, value: Any) -> Any:
    switch = SWITCHES.get(name)
    if switch is None:
        raise ValueError(f"no switch {name!r}; expected one of {', '.join(SWITCHES)}")
    if isinstance(switch.default, bool):
        if value in (True, "true"):
            return True
        if value in (False, "false"):
            return False
        raise ValueError(f"{name} is {value!r}: expected true or false")
    if isinstance(switch.default, int):
        try:
            return int(value)
        except (TypeError, ValueError):
            raise ValueError(f"{name} is {value!r}: expected a whole number") from None
    if not isinstance(value, str) or (switch.choices is not None and value not in switch.choices):
        raise ValueError(f"{name} is {value!r}: expected one of {', '.join(switch.choices or ('a text',))}")
    return value
