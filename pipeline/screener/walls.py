"""What stands in the place of an answer: statuses, and refusals in words. Pure.

The status decides before what the page shows. None of this is ever a changed layout: it passes.
"""

from __future__ import annotations

import re

from pipeline.errors import RateLimited, TransientError

#: Statuses by which the site refuses this address, or asks for patience.
REFUSALS = frozenset({403, 429, 999})
_REFUSED = re.compile(
    r"too many requests|rate.?limit|\baccess (?:is |was |has been )?(?:denied|blocked|restricted)|\bforbidden\b"
    r"|unusual (?:traffic|activity)|automated (?:requests|queries|access)|captcha"
    r"|(?:not|are you) a (?:ro)?bot\b|(?:are|you.re) (?:you )?(?:a )?human"
    r"|(?:request|requests|address|ip|you)\W+(?:\w+\W+){0,3}(?:been |is |are |was |were )?(?:temporarily )?blocked"
    r"|you have been blocked|slow(?:ing)? down|exceeded\W+(?:\w+\W+){0,3}(?:limit|quota)|(?:limit|quota)\W+(?:\w+\W+){0,3}exceeded"
    r"|(?:http|error|status|code)\W*(?:error\W*)?(?:403|429|999)\b"
    r"|zu viele anfragen|zugriff verweigert|trop de requ[eê]tes|acc[eè]s refus[eé]|demasiadas (?:solicitudes|peticiones)|acceso denegado"
    r"|troppe richieste|accesso negato|muit(?:as|os) (?:solicita|pedidos)|acesso negado|te veel verzoeken|toegang geweigerd"
    r"|zbyt wiele (?:żądań|zapytań)|för många förfrågningar|リクエストが多すぎ|アクセスが拒否|请求过多|請求過多|访问被拒绝|요청이 너무 많",
    re.IGNORECASE,
)
_DOWN = re.compile(
    r"will be right back|temporarily unavailable|service unavailable|under maintenance|scheduled maintenance|bad gateway|gateway time-?out"
    r"|internal server error|something went wrong|try again later|wartungsarbeiten|nicht erreichbar|temporairement indisponible",
    re.IGNORECASE,
)
#: A text longer than this is content, not a refusal: a wall is short. In characters.
WALL_LIMIT = 5_000


def of_status(status: int, what: str, retry_after_seconds: float | None = None) -> TransientError | None:
    """The error that a status means; None for one below 400."""
    if status in REFUSALS:
        return RateLimited(f"{what} answers {status}: the site refuses for now", retry_after_seconds)
    return TransientError(f"{what} answers {status}") if status >= 400 else None


def of_words(text: str, what: str, status: int) -> TransientError | None:
    """The error that a page or body of other words means; None if it says nothing of the kind."""
    said = text[:WALL_LIMIT]
    if found := _REFUSED.search(said):
        return RateLimited(f"{what} answers {status} and says {_quoted(found[0])}: the site refuses for now")
    if found := _DOWN.search(said):
        return TransientError(f"{what} answers {status} and says {_quoted(found[0])}")
    return None


def visible_text(markup: str) -> str:
    """The words of a piece of HTML, without scripts, styles and tags."""
    return re.sub(r"(?s)<(script|style)\b.*?</\1\s*>|<[^>]*>", " ", markup[:200_000])


def _quoted(text: str) -> str:
    return repr(" ".join(text.split())[:60])
