"""A User-Agent header taken apart into products and comments (RFC 9110, section 10.1.5), and what it names."""

import re
from typing import Final, NamedTuple

_BRACKETS: Final = re.compile(r"([()\[\]])")
_WORD: Final = re.compile(r"[a-z0-9]+")

# Systems of phones, tablets, consoles and televisions, and programs that run on phones alone.
_HANDHELD_PARTS: Final = (
    "android", "iphone", "ipad", "ipod", "dv(iph", "watchos", "mobile", "tablet;", "windows phone", "windows ce",
    "wpdesktop", "symbian", "series 40", "series40", "series 60", "series60", "midp", "j2me", "docomo", "kddi",
    "blackberry", "rim tablet", "playbook", "kaios", "tizen", "palmos", "palmsource", "palm os", "hpwos", "webos",
    "web0s", "maemo", "meego", "sailfish", "harmony", "kindle", "opera mini", "opera mobi", "opera tablet", "ucweb",
    "maui", "wap1", "wap2", "wap browser", "wap-browser", "up.browser", "nokia", "nintendo", "playstation",
    "smart-tv", "smarttv", "hbbtv", "netcast",
)  # fmt: skip
_HANDHELD_WORDS: Final = frozenset(("adr", "bada", "bb10", "brew", "ios", "mre", "silk"))
_HANDHELD_STARTS: Final = ("[fb", "fb", "amazon;", "a/", "moon fm", "spice ")


class AgentText(NamedTuple):
    """A header as it was sent, in lower case, and the words in it: letters and digits."""

    text: str
    lower: str
    words: frozenset[str]

    @property
    def is_handheld(self) -> bool:
        """Whether a phone, a tablet, a console or a television is named."""
        return is_handheld(self.lower, self.words)


def read_agent(text: str) -> AgentText:
    """Return a header's text and words."""
    lower = text.lower()
    return AgentText(text, lower, frozenset(_WORD.findall(lower)))


def is_handheld(lower: str, words: frozenset[str]) -> bool:
    """Tell whether this text, in lower case, names a phone, a tablet, a console or a television."""
    return (
        any(part in lower for part in _HANDHELD_PARTS)
        or not words.isdisjoint(_HANDHELD_WORDS)
        or lower.startswith(_HANDHELD_STARTS)
    )


def split_agent(text: str) -> tuple[str, list[str]]:
    """Return the products, joined, and each of the outermost comments, in round or square brackets.

    Takes linear time. A comment that is never closed ends with the text.
    """
    products: list[str] = []
    comments: list[str] = []
    comment: list[str] = []
    depth = 0
    for part in _BRACKETS.split(text):
        if part in ("(", "["):
            depth += 1
            if depth == 1:
                continue
        elif part in (")", "]"):
            depth = max(depth - 1, 0)
            if depth == 0:
                comments.append("".join(comment))
                comment = []
                continue
        (comment if depth else products).append(part)
    if comment:
        comments.append("".join(comment))
    return "".join(products), comments
