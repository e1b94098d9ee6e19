"""User agents: what kind of device clicked, and whether it is a bot, by ua-parser's Rust engine.

The pure-Python engine takes up to 32 ms for a hostile header, so there is no falling back to it.
"""

import functools
import re
import threading
from collections.abc import Callable
from typing import TypeAlias

from ua_parser.core import Domain, PartialResult
from ua_parser.loaders import load_builtins
from ua_parser.regex import Resolver

from shortener.analytics.model import USER_AGENT_MAX, Agent, Device

_Resolve: TypeAlias = Callable[[str, Domain], PartialResult]

UNKNOWN = Agent(Device.OTHER, bot=False)
_BOT = Agent(Device.OTHER, bot=True)

# What ua-parser does not call a spider: HTTP libraries, command-line tools, monitors and fetchers of previews.
# CUBOT is a maker of phones, hence the look-behind.
_BOT_TOKENS = re.compile(
    r"(?<!cu)bot(?![a-z])|crawl|spider|slurp|scrap[ey]|headless|phantomjs|lighthouse|puppeteer|playwright|selenium"
    r"|curl/|wget|httpie|python|aiohttp|urllib|go-http-client|java/|okhttp|libwww|lwp::|httpclient|http_client"
    r"|axios|node-fetch|undici|guzzle|ruby|perl|postman|insomnia|apachebench|k6/|vegeta|hey/"
    r"|monitor|uptime|pingdom|statuscake|site24x7|datadog|newrelic|nagios|check_http|zabbix|prometheus|blackbox"
    r"|probe|healthcheck|facebookexternalhit|facebookcatalog|meta-external|whatsapp/|^whatsapp|skypeuripreview"
    r"|preview|embedly|iframely|vkshare|mastodon|pleroma|misskey|feedfetcher|feedly|rss|google-inspectiontool"
    r"|googleother|apis-google|mediapartners|google-read-aloud|google-extended|bingpreview|validator|scan|fetch"
)
_SCREENS = re.compile(r"tv\b|bravia|\baft[a-z]|crkey|roku|playstation|nintendo|xbox|smart-?tv|smarttv|quest")
_MOBILE_SYSTEMS = {
    "iOS", "Windows Phone", "Windows Mobile", "Windows CE", "BlackBerry OS", "KaiOS", "Firefox OS", "Symbian OS",
    "Symbian^3", "Bada", "Maemo", "MeeGo", "Nokia Series 40", "Sailfish",
}  # fmt: skip
_DESKTOP_SYSTEMS = {
    "Windows", "Mac OS X", "Mac OS", "Linux", "Chrome OS", "Ubuntu", "Fedora", "Debian", "Red Hat", "CentOS", "SUSE",
    "Arch Linux", "Gentoo", "Mageia", "Mandriva", "PCLinuxOS", "Slackware", "Linux Mint", "Kubuntu", "Solaris",
    "FreeBSD", "OpenBSD", "NetBSD", "DragonFly", "Lubuntu", "Xubuntu", "VectorLinux", "Puppy", "BackTrack",
}  # fmt: skip
_FEATURE_PHONES = ("Generic Smartphone", "Generic Feature Phone", "BlackBerry", "Nokia")


class UserAgents:
    """`ParseAgent`; remembers the last `size_max` distinct headers. May be used from several threads."""

    def __init__(self, *, size_max: int) -> None:
        self._lock = threading.Lock()
        self._resolve: _Resolve | None = None
        self._parse = functools.lru_cache(maxsize=size_max)(self._look)

    @property
    def is_ready(self) -> bool:
        """Whether the next call takes microseconds: the patterns are loaded."""
        return self._resolve is not None

    def warm(self) -> None:
        """Have the patterns loaded, which blocks. Not on the event loop, please."""
        with self._lock:
            if self._resolve is None:
                self._resolve = patterns()

    def __call__(self, user_agent: str) -> Agent:
        """See `ParseAgent`."""
        return self._parse(user_agent[:USER_AGENT_MAX])

    def _look(self, text: str) -> Agent:
        if not text.strip():
            return UNKNOWN
        lower = text.lower()
        if _BOT_TOKENS.search(lower):
            return _BOT
        if self._resolve is None:
            self.warm()
        assert self._resolve is not None
        # Rust takes Unicode alone; a lone surrogate is nothing any pattern looks for.
        found = self._resolve(text.encode("utf-8", "replace").decode(), Domain.OS | Domain.DEVICE)
        family = found.device.family if found.device else ""
        if family == "Spider":
            return _BOT
        return Agent(_device(lower, found.os.family if found.os else "", family), bot=False)


@functools.cache
def patterns() -> Resolver:
    """Load the patterns: about a quarter of a second of CPU and 20 MB, the first time in a process."""
    _, systems, devices = load_builtins()
    return Resolver(([], systems, devices))


def _device(lower: str, system: str, family: str) -> Device:
    """Return the kind of a device that is no bot. An iPad that asks for desktop pages is a Mac to everyone."""
    if _SCREENS.search(lower):
        return Device.OTHER
    if family.startswith("iPad"):
        return Device.TABLET
    if system == "Android":
        return Device.MOBILE if "mobile" in lower else Device.TABLET
    if system in _MOBILE_SYSTEMS or family.startswith(_FEATURE_PHONES):
        return Device.MOBILE
    if system in _DESKTOP_SYSTEMS:
        return Device.DESKTOP
    return Device.MOBILE if "mobile" in lower else Device.OTHER
