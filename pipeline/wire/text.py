"""Makes untrusted text (a site's error, a company's name, a record's field) safe for a terminal and a log. Pure."""

from __future__ import annotations

import unicodedata

#: Replaces a removed character.
_MARK = "\ufffd"


def printable(text: str) -> str:
    """`text`, with every character replaced that could control a terminal, break a line or change the writing direction.

    In Unicode's terms: controls (C0, C1), formats (including direction marks), line and paragraph separators,
    surrogates, and unassigned characters.
    """
    return text if text.isprintable() else "".join(character if character.isprintable() else _MARK for character in text)


def one_line(text: str, most: int = 0) -> str:
    """`text` as one printable line. Its own lines are separated by " | ". Cut to `most` characters, if that is not 0."""
    if most and len(text) > 4 * most:
        text = text[: 4 * most]  # the rest would be cut anyway
    lines = (line.strip() for line in text.splitlines())
    shown = printable(" | ".join(filter(None, lines)).replace("\t", " "))
    return shown if not most or len(shown) <= most else shown[: most - 1] + "…"


def clean_name(text: str) -> str:
    """The name of a company or a region on one line: white space of any kind and controls become single spaces, and formats
    (direction marks, soft hyphens), which nobody sees, go.
    """
    if text.isprintable() and "  " not in text:
        return text.strip()
    seen = "".join(character if character.isprintable() else " " for character in text if unicodedata.category(character) != "Cf")
    return " ".join(seen.split())
