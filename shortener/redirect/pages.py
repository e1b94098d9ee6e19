"""The pages a visitor may see instead of a redirect. They repeat nothing of the request."""

import base64
import hashlib
import json
from html import escape
from importlib import resources
from string import Template

from shortener.errors import Code
from shortener.net import statuses
from shortener.rest.problems import HTTP_PROBLEMS

HTML_TYPE = "text/html; charset=utf-8"
PROBLEM_TYPE = "application/problem+json"

_FILES = resources.files(__package__)
_PAGE = _FILES.joinpath("page.html").read_text("utf-8")
_STYLE = _PAGE.partition("<style>")[2].partition("</style>")[0]
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

FAVICON = _FILES.joinpath("favicon.ico").read_bytes()
"""Two links of a chain."""

HTML_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}
"""Sent with every page: it loads nothing, runs nothing, is framed by nobody and indexed by nobody."""

ROBOTS = (
    b"# Short links may be followed, so that previews of them work; the pages of this server ask not to be indexed.\n"
    b"User-agent: *\n"
    b"Disallow:\n"
)


def page(title: str, *paragraphs: str, small: str = "") -> bytes:
    """Return one HTML page. All texts are escaped; `small` is set apart below the rest."""
    body = "".join(f"<p>{escape(text)}</p>" for text in paragraphs)
    note = f'\n<p class="small">{escape(small)}</p>' if small else ""
    return Template(_PAGE).substitute(title=escape(title), body=body + note).encode()


HOME = page(
    "Short links live here",
    "This server takes people from a short link to the page it stands for.",
    "Open the whole link you were given: this address, a slash, and a short code.",
)

_PAGES: dict[int, bytes] = {
    400: page("Bad request", "The browser or program sent something this server does not understand."),
    404: page(
        "This link does not exist",
        "There is no link of this name here. Short links tell capital and small letters apart, so look at each.",
        "If someone gave you the link, ask them for it again.",
    ),
    405: page("Links can only be opened", "This server answers GET and HEAD requests, nothing else."),
    410: page(
        "This link is no longer available",
        "It has expired, or its owner has removed it. It will not lead anywhere again.",
    ),
    429: page("Slow down", "There were too many requests from your address. Please wait a moment, then try again."),
    503: page("Try again in a moment", "The link could not be looked up just now. Nothing is wrong with the link."),
    504: page("Try again in a moment", "Looking the link up took too long. Nothing is wrong with the link."),
}

WITHHELD = 403
"""The status of a warning. 200 would tell crawlers, previews and link checkers that the link is fine; 404 and 410 that
it does not exist or never will again; 451 is for demands of the law. A browser shows the page all the same."""

_DETAILS: dict[int, str] = {
    400: "malformed request",
    WITHHELD: "the link is withheld because its destination may be harmful",
    404: "no such link",
    405: "only GET and HEAD are allowed",
    410: "the link has expired or was deleted",
    429: "too many requests",
    503: "the link cannot be looked up just now",
    504: "looking the link up took too long",
}

_NAMES: dict[int, tuple[str, str]] = {WITHHELD: ("withheld", "Link held back")}

_CODES: dict[int, Code] = {
    400: Code.INVALID,
    404: Code.NOT_FOUND,
    410: Code.GONE,
    429: Code.EXHAUSTED,
    500: Code.INTERNAL,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE,
}


def error_page(status: int, request_id: str) -> bytes:
    """Return the page of an error status; the request id is shown where the fault is ours."""
    known = _PAGES.get(status)
    if known is not None:
        return known
    return page(
        "Something went wrong",
        "The fault is on this side, and it has been written down. Please try again later.",
        small=f"Request {request_id}",
    )


def warning_page(destination: str) -> bytes:
    """Return the page shown instead of a redirect; where the link leads is text on it, nothing that can be followed."""
    return page(
        "Careful: this link is held back",
        "The page it leads to may be harmful: it may be after passwords or money, or put something on your device.",
        "If you trust whoever gave you the link, ask them. This is where it leads:",
        small=destination,
    )


def problem(status: int, request_id: str) -> bytes:
    """Return the same as problem details (RFC 9457)."""
    code = _CODES.get(status, Code.INVALID)
    name, title = _NAMES.get(status) or HTTP_PROBLEMS.get(status, (code.value, statuses.TABLE[code].title))
    members: dict[str, str | int] = {
        "type": statuses.problem_type(name),
        "title": title,
        "status": status,
        "detail": _DETAILS.get(status, "internal error"),
    }
    if status == 500:
        members["request_id"] = request_id
    return json.dumps(members).encode()
