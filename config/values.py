"""Parses the values of settings. An invalid one raises an error that names the setting, its value and what is expected. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

from config import amounts

#: In place of a currency: bounds are in each region's own.
LOCAL = "local"
#: ISO 4217, from own knowledge of 2026: currencies in use, those that ended since 2023 and may still be quoted, metals; and offshore yuan.
_CODES = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLF CLP CNH CNY COP CRC
CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD
JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK
NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT
TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XAG XAU XCD XCG XDR XOF XPD XPF XPT YER ZAR ZMW ZWG ZWL
"""
CURRENCIES = frozenset(_CODES.split())


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
    if re.search(r"[\s/\\:@\[\]?#%\"'<>;=$`{}()!&|*,~^+]", text) or not text.isprintable():
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
        plain = parts.username is None and not (parts.query or parts.fragment) and re.search(r"\s", text) is None
    except ValueError:  # the port is not a number, or a bracket is not closed
        good = plain = False
    if text and not (good and plain and text.isprintable()):
        raise _bad("YAHOO_BASE_URL", text, "an address such as http://127.0.0.1:8099, or nothing for the live site")
    return text


def day(values: Mapping[str, str], name: str) -> date | None:
    text = values.get(name)
    if text is None:
        return None
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise _bad(name, text, "a day such as 2026-06-30, or nothing for the UTC date") from None


def _bad(name: str, text: str, expected: str) -> SettingsError:
    # What is before an @ may be a password: user:password@host.
    shown = text if "@" not in text else f"…@{text.rpartition('@')[2]}"
    shown = shown if len(shown) <= 100 else f"{shown[:100]}…"
    return SettingsError(f"{name} is {shown!r}: expected {expected}")


def choice(values: Mapping[str, str], name: str, default: str, choices: tuple[str, ...]) -> str:
    text = values.get(name, default)
    for choice in choices:
        if text.strip().upper() == choice.upper():
            return choice
    raise _bad(name, text, f"one of {', '.join(choices)}")


def currency(text: str, name: str = "MARKET_CAP_CURRENCY") -> str:
    """`"usd"` → `"USD"`, `"local"` in any case → `LOCAL`.

    Raises SettingsError for a code that ISO 4217 does not have. A trading unit as the site writes it (GBp, ZAc) is refused too: in
    capitals it would be worth a hundred times as much.
    """
    code = text.strip()
    if code.lower() == LOCAL:
        return LOCAL
    if re.fullmatch("[A-Z]{3}|[a-z]{3}", code) is None or code.upper() not in CURRENCIES:
        raise _bad(name, text, f"a currency's ISO code such as USD, or {LOCAL}")
    return code.upper()


def boolean(values: Mapping[str, str], name: str, default: bool) -> bool:
    text = values.get(name)
    if text is None:
        return default
    if text.strip().lower() in ("true", "yes", "on", "1"):
        return True
    if text.strip().lower() in ("false", "no", "off", "0"):
        return False
    raise _bad(name, text, "true or false")


def whole_number(values: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    number = _in_range(values, name, default, r"[+-]?\d{1,18}", least, most, f"a whole number from {least} to {most}")
    return int(number)


def number(values: Mapping[str, str], name: str, default: float, least: float, most: float) -> float:
    return _in_range(values, name, default, r"[+-]?(\d{1,18}\.?\d{0,18}|\.\d{1,18})", least, most, f"a number from {least:g} to {most:g}")


def _in_range(values: Mapping[str, str], name: str, default: float, form: str, least: float, most: float, expected: str) -> float:
    text = values.get(name)
    if text is None:
        return default
    found = float(text) if re.fullmatch(form, text.strip(), re.ASCII) else None
    if found is None or not least <= found <= most:
        raise _bad(name, text, expected)
    return found


def days(values: Mapping[str, str], name: str, default: str, most: int) -> float:
    """An age in days, from "45d" or "36h"."""
    text = values.get(name, default)
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)([dh])", text.strip(), re.ASCII)
    age = float(match[1]) / (24 if match[2] == "h" else 1) if match else 0.0
    if not 0 < age <= most:
        raise _bad(name, text, f"an age of up to {most} days, such as {default}")
    return age


def path(name: str, text: str, folder: Path) -> Path:
    """An absolute path. `~` is a home folder; a relative path is relative to `folder`, whatever folder a process was started in."""
    if "\0" in text:
        raise _bad(name, text, "a path")
    try:
        return folder / Path(text).expanduser()
    except RuntimeError:  # no such user, or no home folder
        raise _bad(name, text, "a path whose ~ is the home folder of an existing user") from None


def band(values: Mapping[str, str], low: str, high: str) -> tuple[str, str]:
    """The texts of MARKET_CAP_MIN and MARKET_CAP_MAX, or `low` and `high` in their place."""
    texts = values.get("MARKET_CAP_MIN", low), values.get("MARKET_CAP_MAX", high)
    bounds = []
    for name, text in zip(("MARKET_CAP_MIN", "MARKET_CAP_MAX"), texts, strict=True):
        try:
            bounds.append(amounts.parse_market_cap(text))
        except ValueError:
            raise _bad(name, text, "a number followed by K, M, B or T, such as 300M") from None
    if bounds[0] > bounds[1]:
        raise _bad("MARKET_CAP_MIN", texts[0], f"at most MARKET_CAP_MAX, which is {texts[1]}")
    return texts
