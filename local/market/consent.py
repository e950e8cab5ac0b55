"""The consent page that comes before all others: short, in German and tall, or with its buttons behind one that scrolls."""

from __future__ import annotations

import html
import secrets
from urllib.parse import quote

from aiohttp import web

from local.market.page_switches import Switches

#: Set by the consent form, refused or agreed: the site shows the page after either.
CONSENT_COOKIE = "GUCS"
_TEXTS = {
    "plain": ("en", "Your privacy choices", "Accept all", "Reject all"),
    "german": ("de", "Wir und unsere Partner schätzen Ihre Privatsphäre", "Alle akzeptieren", "Alle ablehnen"),
    "scroll": ("en", "Before you continue", "Accept all", "Reject all"),
}


class Consent:
    def __init__(self, switches: Switches) -> None:
        self._switches = switches

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/consent", self.page, name="consent"),
            web.post("/v2/collectConsent", self.collect, name="collect_consent"),
        ]

    async def page(self, request: web.Request) -> web.Response:
        kind = self._switches["consent"]
        language, title, accept, reject = _TEXTS[kind]
        session = f"3_cc-session_{secrets.token_hex(8)}"
        fields = {
            "csrfToken": secrets.token_hex(4),
            "sessionId": session,
            "originalDoneUrl": request.query.get("done", "/"),
            "namespace": "yahoo",
        }
        hidden = "".join(f'<input type="hidden" name="{name}" value="{html.escape(value)}">' for name, value in fields.items())
        if kind == "plain":
            box, named = (
                'id="consent-page"',
                ('name="agree" value="agree" class="btn accept-all"', 'name="reject" value="reject" class="btn reject-all"'),
            )
        else:
            box, named = 'class="wizard"', ('name="choice" value="1"', 'name="choice" value="0"')
        tall = '<p style="height: 4000px">…</p>' if kind != "plain" else ""
        buttons = f'<button type="submit" {named[0]}>{accept}</button> <button type="submit" {named[1]}>{reject}</button>'
        if kind == "scroll":
            buttons = (
                f'<span id="choices" hidden>{buttons}</span><button type="button" id="scroll-down-btn" style="position: fixed; top: 9px" '
                "onclick=\"document.getElementById('choices').hidden = false; this.remove(); scrollTo(0, 9e9)\">Go to the end</button>"
            )
        return web.Response(
            text=f'<!doctype html><html lang="{language}"><head><meta charset="utf-8"><title>{title} (local market)</title></head><body>'
            f'<div {box}><form class="{"consent-form" if kind == "plain" else "form"}" method="post" '
            f'action="/v2/collectConsent?sessionId={quote(session)}"><h1>{title}</h1>'
            f"<p>The local market stands in for the site; this page is its consent page.</p>{hidden}{tall}{buttons}</form>"
            "</div></body></html>",
            content_type="text/html",
            headers={"Cache-Control": "no-store"},
        )

    async def collect(self, request: web.Request) -> web.Response:
        done = str((await request.post()).get("originalDoneUrl", "/"))
        # Only a path of this server: through the proxy the site's own address would lead out of it.
        back = done.startswith("/") and not done.startswith("//")
        response = web.Response(status=303, headers={"Location": done}) if back else web.Response(text="ok")
        response.set_cookie(CONSENT_COOKIE, "done", path="/", max_age=365 * 86400)
        return response
