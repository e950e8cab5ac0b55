"""Reads `.env`. An error is one line that says what is wrong and where. No message contains a value.

If half of a file were ignored, a password would be empty, or other services would be used than the user meant. So every
line that is not plainly `NAME=value` is an error.
"""

from __future__ import annotations

import io
import os
import re
import stat
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from config import names
from config.values import SettingsError

#: Largest size in bytes. A larger file is not a file of settings.
MOST_BYTES = 1_000_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_MARKS = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))


def read(path: Path) -> dict[str, str]:
    """Names and values of the file; empty if there is no file. Raises SettingsError with one line for the user."""
    text = _text(path)
    if text is None:
        return {}
    found: dict[str, str] = {}
    lines: dict[str, int] = {}
    for binding in parse_stream(io.StringIO(text)):
        # A binding includes the blank lines before it.
        shown = binding.original.string
        line = binding.original.line + shown[: len(shown) - len(shown.lstrip())].count("\n")
        problem = _problem(binding)
        if problem:
            raise SettingsError(f"{path}, line {line}: {problem}")
        if binding.key is None or binding.value is None:
            continue  # blank, or a comment
        if binding.key in found and found[binding.key] != binding.value:
            raise SettingsError(f"{path}, line {line}: {binding.key} has another value in line {lines[binding.key]}: keep one of them")
        found[binding.key] = binding.value
        lines[binding.key] = line
    return found


def _problem(binding: Binding) -> str:
    if binding.error:
        quoted = any(quote in binding.original.string for quote in "'\"")
        return "expected NAME=value" + (", and every quote closed on the same line" if quoted else "")
    if binding.key is None:
        return ""
    if not _NAME.fullmatch(binding.key) or binding.value is None:
        return "expected NAME=value, where NAME consists of letters, digits and _"
    if not binding.value.isprintable():
        return f"the value of {binding.key} contains a line break, a control character or an invisible one: is a quote not closed?"
    return names.problem_in_file(binding.key)


def _text(path: Path) -> str | None:
    """The file as text with plain line ends; None if there is no such file."""
    wanted = "expected a file of settings such as .env.example"
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise SettingsError(f"{path} is a folder: {wanted}")
        # Reading a pipe without a writer would block for ever.
        if not stat.S_ISREG(found.st_mode) and found.st_rdev != os.stat(os.devnull).st_rdev:
            raise SettingsError(f"{path} is not a regular file: {wanted}")
        with open(path, "rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        if path.is_symlink():
            raise SettingsError(f"{path} is a link to a missing file: fix or remove it") from None
        return None
    except OSError as error:
        advice = "give this user the right to read it" if isinstance(error, PermissionError) else "fix or remove it"
        raise SettingsError(f"{path} can't be read ({error.strerror}): {advice}") from None
    if len(raw) > MOST_BYTES:
        raise SettingsError(f"{path} is larger than {MOST_BYTES:,} bytes: {wanted}")
    return _decoded(path, raw).replace("\r\n", "\n").replace("\r", "\n")


def _decoded(path: Path, raw: bytes) -> str:
    for mark, name in _MARKS:
        if raw.startswith(mark):
            raise SettingsError(f"{path} is in {name}: save it as UTF-8")
    if b"\0" in raw:
        raise SettingsError(f"{path}, line {raw[: raw.index(0)].count(10) + 1}: contains NUL bytes: save the file as UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise SettingsError(f"{path}, line {line}: not in UTF-8: save the file as UTF-8") from None
