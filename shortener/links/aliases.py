"""What to offer instead of an alias that is taken. Pure."""

from shortener.links.codes import is_reserved
from shortener.links.model import ALIAS_LENGTH_MAX

_NUMBERS = range(2, 7)


def alternatives(alias: str, random_text: str) -> list[str]:
    """Return valid aliases close to this one, best first: numbered ones, then ones ending in random characters."""
    suffixes = [f"-{number}" for number in _NUMBERS]
    suffixes += [f"-{random_text[:length]}" for length in (3, 4)]
    suffixes.append(f"-{random_text}"[: ALIAS_LENGTH_MAX // 2])
    stems = [alias[: ALIAS_LENGTH_MAX - len(suffix)] for suffix in suffixes]
    # A stem that was cut may end in "-" or "_"; two separators in a row look like a typing error.
    candidates = [(stem.rstrip("-_") or stem) + suffix for stem, suffix in zip(stems, suffixes, strict=True)]
    return [candidate for candidate in dict.fromkeys(candidates) if not is_reserved(candidate) and candidate != alias]
