"""Reads `.env`: names and values, or one line that says what is wrong with it and where. The values are in no message.

A file that is read by half would leave an empty password, or other services in place of those that are meant. So
whatever is not plainly `NAME=value` is refused.
"""

from __future__ import annotations

import io
import os
import re
import stat
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from setting_values import SettingsError

#: Most bytes that are read: a larger file is something else.
MOST_BYTES = 1_000_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_MARKS = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))


def read(path: Path) -> dict[str, str]:
    """What the file sets; nothing if there is none. Raises SettingsError with one line for people."""
    text = _text(path)
    if text is None:
        return {}
    found: dict[str, str] = {}
    lines: dict[str, int] = {}
    for binding in parse_stream(io.StringIO(text)):
        # A binding begins with the blank lines before it.
        shown = binding.original.string
        line = binding.original.line + shown[: len(shown) - len(shown.lstrip())].count("\n")
        problem = _problem(binding)
        if problem:
            raise SettingsError(f"{path}, line {line}: {problem}")
        if binding.key is None or binding.value is None:
            continue  # blank, or a comment
        if binding.key in found and found[binding.key] != binding.value:
            raise SettingsError(
                f"{path}, line {line}: {binding.key} stands in line {lines[binding.key]} with another value: keep one of them"
            )
        found[binding.key] = binding.value
        lines[binding.key] = line
    return found


def _problem(binding: Binding) -> str:
    if binding.error:
        quoted = any(quote in binding.original.string for quote in "'\"")
        return "expected NAME=value" + (", and a quote that opens must close in the same line" if quoted else "")
    if binding.key is None:
        return ""
    if not _NAME.fullmatch(binding.key) or binding.value is None:
        return "expected NAME=value, the name of letters, digits and _"
    if not binding.value.isprintable():
        return f"the value of {binding.key} holds a line break, a control character or an invisible one: is a quote not closed?"
    return ""


def _text(path: Path) -> str | None:
    """The file as text with plain line ends; None if there is no such file."""
    wanted = "expected a file with settings, as .env.example has them"
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise SettingsError(f"{path} is a folder: {wanted}")
        # A pipe that nobody writes to would hold the program up for ever.
        if not stat.S_ISREG(found.st_mode) and found.st_rdev != os.stat(os.devnull).st_rdev:
            raise SettingsError(f"{path} is no regular file: {wanted}")
        with open(path, "rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        if path.is_symlink():
            raise SettingsError(f"{path} is a link to a file that is not there: mend or remove it") from None
        return None
    except OSError as error:
        advice = "give this user the right to read it" if isinstance(error, PermissionError) else "mend or remove it"
        raise SettingsError(f"{path} can't be read ({error.strerror}): {advice}") from None
    if len(raw) > MOST_BYTES:
        raise SettingsError(f"{path} has more than {MOST_BYTES:,} bytes: {wanted}")
    return _decoded(path, raw).replace("\r\n", "\n").replace("\r", "\n")


def _decoded(path: Path, raw: bytes) -> str:
    for mark, name in _MARKS:
        if raw.startswith(mark):
            raise SettingsError(f"{path} is in {name}: save it as UTF-8")
    if b"\0" in raw:
        raise SettingsError(f"{path}, line {raw[: raw.index(0)].count(10) + 1}: holds NUL bytes: save it as UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise SettingsError(f"{path}, line {line}: is not in UTF-8: save it as UTF-8") from None
