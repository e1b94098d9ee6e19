"""Short codes: the alphabet, random codes, and the words that are never one."""

import secrets
from collections.abc import Callable

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
LENGTH_MIN = 4
LENGTH_MAX = 32

# Names that our servers answer or may come to answer, and words that would pass for the operator's own, in lower case.
RESERVED = frozenset(
    {
        "account", "admin", "administrator", "api", "apple-touch-icon", "assets", "auth", "custom", "docs", "favicon",
        "health", "healthz", "livez", "login", "logout", "metrics", "openapi", "readyz", "register", "robots",
        "security", "signin", "signup", "sitemap", "static", "status", "support", "swagger", "well-known", "www",
    }
)  # fmt: skip


def is_reserved(short_code: str) -> bool:
    """Tell whether this word is kept for ourselves, in whatever case it is written."""
    return short_code.lower() in RESERVED


def random_code(length: int) -> str:
    """Return `length` Base62 characters from the system's random source, all codes equally likely."""
    number = secrets.randbelow(62**length)
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(digits)


def random_codes(length: int) -> Callable[[], str]:
    """Return a `NewCode` that gives random codes of this length (4 to 32), never a reserved word."""
    if not LENGTH_MIN <= length <= LENGTH_MAX:
        raise ValueError(f"a short code has {LENGTH_MIN} to {LENGTH_MAX} characters, not {length}")

    def new_code() -> str:
        while is_reserved(code := random_code(length)):
            pass
        return code

    return new_code
