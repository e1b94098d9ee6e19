"""User agents: what kind of device clicked, and whether it is a bot.

Bots are told by the patterns of `isbot`, or by the names in the header where a device is named. The patterns look
anywhere in the text, and so also into names of devices, builds and apps ("XBot Junior", "S1RSS32.38", "CamScanner").
An agent that names a phone, a tablet or a television is therefore judged by its product names alone.
"""

import functools
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Final

from shortener.analytics.model import USER_AGENT_MAX, Agent, Device

UNKNOWN: Final = Agent(Device.OTHER, bot=False)
_BOT: Final = Agent(Device.OTHER, bot=True)

_SCREENS: Final = (
    "appletv", "apple tv", "androidtv", "googletv", "smart-tv", "smarttv", "hbbtv", "nettv", "inettv", "bravia",
    "crkey", "roku", "playstation", "nintendo", "xbox", "oculusbrowser", "web0s", "netcast", "viera", "watchos",
)  # fmt: skip
_SCREEN_WORD: Final = re.compile(r"tv|aft[a-z]{1,5}[0-9]*").fullmatch
_TABLETS: Final = ("ipad", "tablet", "kindle", "playbook", "/apad", "nexus 7", "nexus 9", "nexus 10")
_TABLET_WORD: Final = re.compile(
    r"[a-z0-9]*pad|pad[0-9]+|(?!stab)[a-z]*tab|tab[0-9]+|kf[a-z]{2,5}|sgp[0-9]{3}"
).fullmatch
_TABLET_MODEL: Final = re.compile(r"sm-[tpx][0-9]|gt-(?:p|n[58])[0-9]|tb-[0-9x][0-9]").search
_PHONES: Final = ("mobile", "opera mini", "opera mobi", "iphone", "ipod", "dv(iph", "windows ce", "wpdesktop", "lumia")
_DESKTOPS: Final = (
    "windows", "win95", "win98", "winnt", "win32", "mac os", "macos", "macintosh", "mac_powerpc", "darwin", "x11",
    "linux", "freebsd", "openbsd", "netbsd", "sunos", "amiga", "beos", "haiku", "os/2",
)  # fmt: skip

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

# What `isbot` has dropped of its older lists of crawlers.
_OLDER: Final = (
    "libwww/", "favicon", "indexer", "extractor", "links? ?check", "linklint", "linkalarm", "links2go", "linksweeper",
    "siterecon", "^go!zilla", "^getright", "^mygetright", "^webfetch", "^webcollage", "^stackrambler", "^htdig",
    "^scooter", "^teleport pro", "^aspseek", "^dc-sakura", "^anonymous,",
)  # fmt: skip
# Names of crawlers that claim to be a phone's browser. CUBOT makes phones.
_NAMES: Final = re.compile(
    r"(?<!cu)bots?(?![a-z])|crawl|spider|headless|lighthouse|\bptst\b|-google\b|\bgoogle-|page ?speed|preview"
    r"|pingdom|phantomjs|synthetic|catchpoint|convertify|cloudflare|tineye|uptime|adbeat|ichiro|thumbor"
    r"|wechatdevtools|nitro-optimizer|hotjar|googleweblight|^anonymous,",
    re.IGNORECASE | re.ASCII,
)
_CONTACT: Final = re.compile(r"https?://", re.IGNORECASE)
_PRODUCT: Final = re.compile(r"([^/]+)/v?[0-9][\w.]*", re.ASCII)


class UserAgents:
    """Understands User-Agent headers (`ParseAgent`) and remembers the last `size_max` distinct ones. Thread-safe."""

    def __init__(self, *, size_max: int) -> None:
        self._parse = functools.lru_cache(maxsize=size_max)(_parse)

    def __call__(self, user_agent: str) -> Agent:
        """Return what the header tells, of which `USER_AGENT_MAX` characters count. Never raises."""
        return self._parse(user_agent[:USER_AGENT_MAX])


class _AgentText:
    """A header as it was sent, in lower case, and the words in it: letters and digits."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lower = text.lower()
        self.words = frozenset(_WORD.findall(self.lower))

    @property
    def is_handheld(self) -> bool:
        """Whether a phone, a tablet, a console or a television is named."""
        return (
            _has(_HANDHELD_PARTS, self.lower)
            or not self.words.isdisjoint(_HANDHELD_WORDS)
            or self.lower.startswith(_HANDHELD_STARTS)
        )


def _parse(text: str) -> Agent:
    agent = _AgentText(text)
    if not agent.words:
        return UNKNOWN
    return _BOT if _is_bot(agent) else Agent(_device(agent), bot=False)


def _device(agent: _AgentText) -> Device:
    """Return the kind of a device that is no bot. An iPad that asks for desktop pages is a Mac to everyone.

    Browsers on Android say `Mobile` on phones alone. Apps, Dalvik and Opera Mini never do: the model decides there.
    """
    lower, words = agent.lower, agent.words
    if _has(_TABLETS, lower) or any(map(_TABLET_WORD, words)) or _TABLET_MODEL(lower):
        return Device.TABLET
    is_phone, is_android = _has(_PHONES, lower), "android" in lower or "adr" in words
    is_screen = _has(_SCREENS, lower) or any(map(_SCREEN_WORD, words))
    if is_screen and not (is_phone and is_android):
        return Device.OTHER
    if is_phone:
        return Device.MOBILE
    if is_android:
        return Device.TABLET if lower.startswith("mozilla/") else Device.MOBILE
    if agent.is_handheld:
        return Device.MOBILE
    return Device.DESKTOP if _has(_DESKTOPS, lower) or "cros" in words else Device.OTHER


def _has(parts: tuple[str, ...], text: str) -> bool:
    return any(part in text for part in parts)


def _is_bot(agent: _AgentText) -> bool:
    """Tell whether this header, which should be cropped, is a bot's: 256 characters take some 50 µs at most."""
    if agent.is_handheld:
        return _is_bot_on_device(agent.text)
    return any(found(agent.lower) for found in _listed())


@functools.cache
def _listed() -> tuple[Callable[[str], object], ...]:
    """Compile the patterns, the first time in a process: a few milliseconds.

    Those that are tried at the start alone are apart from the others, and these are grouped by the letter they begin
    with: most places in a text are then passed over at once, which is ten times as fast as one list of alternatives.
    """
    lines = resources.files(__package__).joinpath("data", "bots.txt").read_text("utf-8").splitlines()
    patterns = [line for line in lines if not line.startswith("#")] + list(_OLDER)
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for pattern in patterns:
        first = pattern[: 1 + pattern.startswith("\\")]
        groups[first].append(pattern.removeprefix(first))
    at_start = groups.pop("^")
    return (
        re.compile("|".join(at_start), re.ASCII).match,
        re.compile("|".join(f"{first}(?:{'|'.join(rests)})" for first, rests in groups.items()), re.ASCII).search,
    )


def _is_bot_on_device(text: str) -> bool:
    """Tell whether an agent that names a device is a bot's.

    Crawlers that pretend to be a browser name themselves as a product, behind `compatible` or behind `like Gecko`, or
    leave an address to complain to.
    """
    products, comments = _split(text)
    if text.startswith("Mozilla/") and (_CONTACT.search(products) or any(map(_is_contact, comments))):
        return True
    names = [word.partition("/")[0] for word in products.split() if not word.startswith("com.")]
    for comment in comments:
        elements = [element.strip() for element in comment.split(";")]
        if elements[0].lower().replace(" ", "") == "khtml,likegecko" and any(elements[1:]):
            return True
        names += _product_names(elements)
    return any(map(_NAMES.search, names))


def _is_contact(comment: str) -> bool:
    """Tell whether a comment is there to say whose the agent is; comments that name a device may hold any address."""
    return "+http" in comment or (_CONTACT.search(comment) is not None and not _AgentText(comment).is_handheld)


def _product_names(elements: list[str]) -> Iterator[str]:
    """Yield the names in a comment that are of products and not of a device: `name/1.2`, or behind `compatible`."""
    is_device = True
    for element in elements:
        product = _PRODUCT.fullmatch(element)
        if not is_device:
            yield element.partition("/")[0]
        elif product and "build" not in element.lower():
            yield product[1]
        elif element.lower() == "compatible":
            is_device = False


def _split(text: str) -> tuple[str, list[str]]:
    """Return the products of a header, joined, and each of the outermost comments (RFC 9110, section 10.1.5).

    Comments stand in round or square brackets; one that is never closed ends with the text. Takes linear time.
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
