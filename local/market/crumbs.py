"""Cookies and crumbs: a visitor's cookie, and the crumb that goes with it, which may be refused from some answer on."""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections import Counter

from aiohttp import web

from local.market.page_switches import Switches

COOKIE_SECONDS = 365 * 86400
_PAGE = "page"


class Crumbs:
    """Who is known, and by which crumb. A crumb follows from its cookie, so that yfinance's stays valid when the market restarts."""

    def __init__(self, seed: int, switches: Switches) -> None:
        self._seed = seed
        self._switches = switches
        self._visitors = itertools.count(1)
        #: Answers that a page's cookie has had.
        self._answers: Counter[str] = Counter()
        # In the cookies of pages: those of an earlier one are refused.
        self._life = secrets.token_hex(4)

    def grant(self, response: web.Response) -> None:
        """A cookie for yfinance."""
        value = f"d=local-{self._seed}-{next(self._visitors)}"
        response.set_cookie("A3", value, domain=".yahoo.com", path="/", max_age=COOKIE_SECONDS, httponly=True)

    def of_page(self, request: web.Request, response: web.Response) -> str:
        """The crumb for a page that is about to be shown; it gets a cookie if it has none that is good."""
        cookie = request.cookies.get("A3", "")
        if not self._known(cookie):
            cookie = f"{_PAGE}-{self._life}-{next(self._visitors)}"
        response.set_cookie("A3", cookie, path="/", max_age=COOKIE_SECONDS, httponly=True)
        return self._crumb(cookie)

    def of(self, request: web.Request) -> str | None:
        """The crumb of the request's cookie, or None."""
        cookie = request.cookies.get("A3", "")
        return self._crumb(cookie) if self._known(cookie) else None

    def accepts(self, request: web.Request) -> bool:
        """Whether cookie and crumb go together; counts an answer."""
        cookie = request.cookies.get("A3", "")
        if not self._known(cookie) or request.query.get("crumb") != self._crumb(cookie):
            return False
        if cookie.startswith(_PAGE):
            self._answers[cookie] += 1
        return True

    def forget(self) -> None:
        """The site was replaced: every page's cookie is refused."""
        self._life = secrets.token_hex(4)

    def _known(self, cookie: str) -> bool:
        return bool(cookie) and (not cookie.startswith(f"{_PAGE}-") or cookie.startswith(f"{_PAGE}-{self._life}-"))

    def _crumb(self, cookie: str) -> str:
        lasts = self._switches["crumb_lasts"]
        turn = self._answers[cookie] // lasts if lasts and cookie.startswith(_PAGE) else 0
        return hashlib.sha256(f"{cookie}{turn or ''}".encode()).hexdigest()[:11]
