"""Parses the values of settings. An invalid one raises an error that names the setting, its value and what is expected. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from datetime import date
from urllib.parse import urlsplit

#: In place of a currency: bounds are in each region's own.
LOCAL = "local"


class SettingsError(Exception):
    """A setting or an argument is invalid. The text names it, its value and what is expected."""


def servers(text: str) -> str:
    """`host:port[,host:port…]`, each part checked. An IPv6 address is in brackets."""
    found = [server.strip() for server in text.split(",") if server.strip()]
    for server in found:
        host, _, port = server.rpartition(":")
        inner = host.removeprefix("[").removesuffix("]")
        named = _is_address(inner, 6) if host == f"[{inner}]" else _is_host(host)
        if not named or not (port.isdecimal() and port.isascii() and len(port) < 6 and 0 < int(port) < 65536):
            raise _bad("KAFKA_BOOTSTRAP_SERVERS", text, f"host:port[,host:port…] without a protocol{_in_brackets(server)}")
    if text and not found:
        raise _bad("KAFKA_BOOTSTRAP_SERVERS", text, "host:port[,host:port…]")
    return ",".join(found)


def database_host(text: str) -> str:
    """A host name, an address, or the folder of PostgreSQL's socket; or several of these, separated by commas, as in libpq."""
    for host in text.split(","):
        inner = host.removeprefix("[").removesuffix("]")
        if not (host.startswith(("/", "@")) or _is_host(host) or _is_address(inner, 6)):
            raise _bad("DB_HOST", text, "a host name or address without a protocol; the port belongs in DB_PORT")
    return text.removeprefix("[").removesuffix("]")


def user_agent(text: str) -> str:
    """The browser's User-Agent: printable ASCII, as in a header; empty is the browser's own."""
    if not (text.isascii() and text.isprintable()) or len(text) > 500:
        raise _bad("SCRAPER_USER_AGENT", text[:60], "printable ASCII on one line, such as Mozilla/5.0 (X11; Linux x86_64) …")
    return text


def _is_host(text: str) -> bool:
    """Whether it can be a host name or an IPv4 address: no parts of a URL, no white space, no empty labels."""
    if re.search(r"[\s/\\:@\[\]?#%\"'<>;=]", text) or not text.isprintable():
        return False
    try:
        return bool(text.encode("idna"))
    except UnicodeError:  # a label between dots is empty or too long
        return False


def _is_address(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def _in_brackets(server: str) -> str:
    return ", an IPv6 address in brackets: [::1]:9092" if server.count(":") > 1 and "/" not in server else ""


def base_url(values: Mapping[str, str]) -> str:
    text = values.get("YAHOO_BASE_URL", "").rstrip("/")
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # the port is not a number, or a bracket is not closed
        good = False
    if text and not (good and text.isprintable()):
        raise _bad("YAHOO_BASE_URL", text, "an address such as http://127.0.0.1:8099, or nothing for the live site")
    return text


def day(values: Mapping[str, str], name: str) -> date | None:
    text = values.get(name)
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise _bad(name, text, "a day such as 2026-06-30, or nothing for the UTC date") from None


def _bad(name: str, text: str, expected: str) -> SettingsError:
    shown = text if len(text) <= 100 else f"{text[:100]}…"
    return SettingsError(f"{name} is {shown!r}: expected {expected}")


def choice(values: Mapping[str, str], name: str, default: str, choices: tuple[str, ...]) -> str:
    text = values.get(name, default)
    for choice in choices:
        if text.upper() == choice.upper():
            return choice
    raise _bad(name, text, f"one of {', '.join(choices)}")


def currency(text: str, name: str = "MARKET_CAP_CURRENCY") -> str:
    """`"usd"` → `"USD"`, `"local"` in any case → `LOCAL`.

    A trading unit as the site writes it (GBp, ZAc) is refused: in capitals it would be worth a hundred times as much.
    """
    code = text.strip()
    if code.lower() == LOCAL:
        return LOCAL
    if re.fullmatch("[A-Z]{3}|[a-z]{3}", code) is None:
        raise _bad(name, text, f"a currency's ISO code such as USD, or {LOCAL}")
    return code.upper()


def boolean(values: Mapping[str, str], name: str, default: bool) -> bool:
    text = values.get(name)
    if text is None:
        return default
    if text.lower() in ("true", "yes", "on", "1"):
        return True
    if text.lower() in ("false", "no", "off", "0"):
        return False
    raise _bad(name, text, "true or false")


def whole_number(values: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = values.get(name)
    if text is None:
        return default
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise _bad(name, text, f"a whole number from {least} to {most}")
    return number


def days(values: Mapping[str, str], name: str, default: str, most: int) -> float:
    """An age in days, from "45d" or "36h"."""
    text = values.get(name, default)
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)([dh])", text, re.ASCII)
    age = float(match[1]) / (24 if match[2] == "h" else 1) if match else 0.0
    if not 0 < age <= most:
        raise _bad(name, text, f"an age of up to {most} days, such as {default}")
    return age


def number(values: Mapping[str, str], name: str, default: float, least: float, most: float) -> float:
    text = values.get(name)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise _bad(name, text, f"a number from {least:g} to {most:g}")
    return number
