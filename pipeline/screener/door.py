"""How the site's data can be asked for, as far as the page that is open shows it: by a query of its own, or in what it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.screener import query
from pipeline.screener.browser import Browser
from pipeline.screener.network import NetworkLog


@dataclass(frozen=True)
class Door:
    """Where to ask, with which crumb, and in what form."""

    origin: str
    crumb: str
    #: The page's own address, body and headers of such a query, if it was seen.
    seen_url: str = ""
    template: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Whether the site refused the page's form of the query.
    plain: bool = False
    #: Whether the page was seen to use it.
    is_page_s: bool = False

    @property
    def url(self) -> str:
        """The address of our own queries. The crumb is in it, unless the page carries it elsewhere."""
        elsewhere = not query.crumb_of(self.seen_url) and (query.crumb_in_headers(self.headers) or "crumb" in (self.template or {}))
        return query.query_url(self.origin, "" if elsewhere else self.crumb, self.seen_url)

    def body(self, region: str, band: tuple[int, int], offset: int) -> dict[str, Any]:
        return query.body(self.template, region, band, offset, plain=self.plain)

    def with_crumb(self, crumb: str) -> Door:
        """The same with another crumb, wherever the page carries it."""
        headers = {name: crumb if "crumb" in name else value for name, value in self.headers.items()}
        template = {**self.template, "crumb": crumb} if self.template and "crumb" in self.template else self.template
        return replace(self, crumb=crumb, headers=headers, template=template)


def sent_by_page(network: NetworkLog, origin_of: Callable[[str], str]) -> Door | None:
    """By the page's own query, the last one; else by the crumb of another of its requests. None if it has sent neither."""
    crumb = ""
    other_place: Door | None = None
    for exchange in reversed(network.by_scripts()):
        its_crumb = query.crumb_of(exchange.url) or query.crumb_in_headers(exchange.headers)
        is_post = exchange.method == "POST" and query.may_ask_for_rows(exchange.url)
        if is_post and (template := query.template_of(exchange.sent)) is not None:
            door = Door(
                origin_of(exchange.url),
                its_crumb or str(template.get("crumb") or "") or crumb,
                exchange.url,
                template,
                query.own_headers(exchange.headers),
                is_page_s=True,
            )
            if query.is_query_url(exchange.url):
                return door
            other_place = other_place or door
        crumb = crumb or its_crumb
    return other_place or (Door(origin_of(""), crumb) if crumb else None)


def put_into_page(browser: Browser, origin_of: Callable[[str], str]) -> Door | None:
    """By what the server has put into the page: a query's address, or a crumb. None if there is neither."""
    # Nothing, if a dialog of the page has interrupted the script.
    found: dict[str, list[str]] = browser.execute(_EMBEDDED) or {"addresses": [], "crumbs": []}
    urls = [url for text in found["addresses"] for url in query.query_urls(text)]
    crumb = next(filter(None, [*map(query.crumb_of, urls), *map(query.plain_crumb, found["crumbs"])]), "")
    if not urls:
        return Door(origin_of(""), crumb) if crumb else None
    url = next((url for url in urls if query.crumb_of(url)), urls[0])
    return Door(origin_of(url), crumb, url, is_page_s=True)


#: Texts of the page that name a query's address (attributes of scripts, and scripts that hold data), and crumbs by that name.
_EMBEDDED = r"""
const addresses = [];
const crumbs = [...document.querySelectorAll("meta[name*=crumb i], [data-crumb]")].map((one) => one.content ?? one.dataset.crumb);
for (const script of document.scripts) {
  if (script.src) continue;
  const texts = [...script.attributes].map((attribute) => attribute.value);
  if (/json/i.test(script.type) || script.textContent.length < 2000000) texts.push(script.textContent);
  for (const text of texts) {
    const at = text.indexOf("/finance/screener");
    if (at >= 0) addresses.push(text.slice(Math.max(0, at - 300), at + 1000));
    crumbs.push(...[...text.matchAll(/\bcrumb\\*["']?\s*[:=]\s*\\*["']([^"'<>\s]{5,80})["']/gi)].map((found) => found[1]));
  }
}
return { addresses, crumbs };
"""
