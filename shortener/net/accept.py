"""Whether a client asks for problem details rather than a page."""

ACCEPT_SIZE_MAX = 1000
"""Characters of an Accept header that are read; a longer one is taken for a browser's."""

_PROBLEM = ("application/problem+json", "application/json")
_HTML = ("text/html", "application/xhtml+xml")


def prefers_problem(accept: str) -> bool:
    """Tell whether `accept` (RFC 9110, 12.5.1) names a JSON type and likes no HTML type better.

    A wildcard alone asks for nothing in particular and gets the page. Of two types liked the same the first wins.
    """
    if len(accept) > ACCEPT_SIZE_MAX:
        return False
    best_quality, best_is_problem = 0.0, False
    for item in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in item.split(";"))
        if media_type in _PROBLEM or media_type in _HTML:
            quality = _quality(parameters)
            if quality > best_quality:
                best_quality, best_is_problem = quality, media_type in _PROBLEM
    return best_is_problem


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            digits = value.strip()
            plain = len(digits) <= 5 and digits.isascii() and digits.replace(".", "", 1).isdigit()
            return min(float(digits), 1.0) if plain else 0.0
    return 1.0
