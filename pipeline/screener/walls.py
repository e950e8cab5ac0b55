"""What comes in place of an answer: statuses, and refusals in words. Pure.

The status decides before what the page shows. None of this is a changed layout: it passes.
"""

from __future__ import annotations

import re

from pipeline.errors import RateLimited, TransientError

#: Statuses by which the site refuses this address, or asks for patience.
REFUSALS = frozenset({403, 429, 999})
#: How sites word a refusal: in English by subject, then by language.
_REFUSED_WORDS = (
    r"too many requests|rate.?limit|slow(?:ing)? down",
    r"exceeded\W+(?:\w+\W+){0,3}(?:limit|quota)|(?:limit|quota)\W+(?:\w+\W+){0,3}exceeded",
    r"\baccess (?:is |was |has been )?(?:denied|blocked|restricted)|\bforbidden\b|you have been blocked",
    r"(?:request|requests|address|ip|you)\W+(?:\w+\W+){0,3}(?:been |is |are |was |were )?(?:temporarily )?blocked",
    r"unusual (?:traffic|activity)|automated (?:requests|queries|access)|captcha|checking your browser|security check",
    r"\b(?:not|are you|be|you are|you.re) a (?:ro)?bot\b|(?:are|you.re) (?:you )?(?:a )?human",
    r"(?:http|error|status|code)\W*(?:error\W*)?(?:403|429|999)\b",
    r"zu viele anfragen|zugriff verweigert|trop de requ[eê]tes|acc[eè]s refus[eé]|te veel verzoeken|toegang geweigerd",
    r"demasiadas (?:solicitudes|peticiones)|acceso denegado|troppe richieste|accesso negato",
    r"muit(?:as|os) (?:solicita|pedidos)|acesso negado",
    r"zbyt wiele (?:żądań|zapytań)|příliš mnoho požadavků|přístup (?:odepřen|zamítnut)|túl sok kérés|hozzáférés megtagadva",
    r"för många förfrågningar|åtkomst nekad|for mange (?:forespørsler|anmodninger)|liian monta pyyntöä|prea multe (?:cereri|solicitări)",
    r"πάρα πολλά αιτήματα|слишком много запросов|доступ (?:запрещ|ограничен)|забагато запитів",
    r"çok fazla istek|erişim (?:engellendi|reddedildi)",
    r"リクエストが多すぎ|アクセスが拒否|请求过多|請求過多|访问被拒绝|요청이 너무 많",
    r"terlalu banyak permintaan|quá nhiều yêu cầu|طلبات كثيرة|בקשות רבות",
)
_REFUSED = re.compile("|".join(_REFUSED_WORDS), re.IGNORECASE)
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
    """The error that a page or body in other words means; None if it contains no known refusal."""
    said = text[:WALL_LIMIT]
    if found := _REFUSED.search(said):
        return RateLimited(f"{what} answers {status} and says {quoted(found[0])}: the site refuses for now")
    if found := _DOWN.search(said):
        return TransientError(f"{what} answers {status} and says {quoted(found[0])}")
    return None


def visible_text(markup: str) -> str:
    """The words of a piece of HTML, without scripts, styles and tags."""
    return re.sub(r"(?s)<(script|style)\b.*?</\1\s*>|<[^>]*>", " ", markup[:200_000])


def quoted(text: str) -> str:
    return repr(" ".join(text.split())[:60])
