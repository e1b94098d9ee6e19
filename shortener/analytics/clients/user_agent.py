"""User agents: what kind of device clicked, and whether it is a bot."""

import functools
import re
from typing import Final

from shortener.analytics.clients.agent_text import AgentText, read_agent
from shortener.analytics.clients.bots import is_bot
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


class UserAgents:
    """Understands User-Agent headers (`ParseAgent`) and remembers the last `size_max` distinct ones. Thread-safe."""

    def __init__(self, *, size_max: int) -> None:
        self._parse = functools.lru_cache(maxsize=size_max)(_parse)

    def __call__(self, user_agent: str) -> Agent:
        """Return what the header tells, of which `USER_AGENT_MAX` characters count. Never raises."""
        return self._parse(user_agent[:USER_AGENT_MAX])


def _parse(text: str) -> Agent:
    agent = read_agent(text)
    if not agent.words:
        return UNKNOWN
    return _BOT if is_bot(agent) else Agent(_device(agent), bot=False)


def _device(agent: AgentText) -> Device:
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
