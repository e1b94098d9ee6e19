"""User agents: devices and bots."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortener.analytics.clients.user_agent import UserAgents
from shortener.analytics.model import Agent, Device

PARSE = UserAgents(size_max=1000)
KIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("text", "device"),
    [
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {KIT} Chrome/126.0.0.0 Safari/537.36", Device.DESKTOP),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {KIT} Chrome/126.0.0.0 Safari/537.36 Edg/126.0", Device.DESKTOP),
        (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {KIT} Version/17.5 Safari/605.1.15", Device.DESKTOP),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", Device.DESKTOP),
        ("Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0", Device.DESKTOP),
        (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {KIT} Chrome/126.0.0.0 Safari/537.36", Device.DESKTOP),
        ("Mozilla/5.0 (X11; FreeBSD amd64; rv:128.0) Gecko/20100101 Firefox/128.0", Device.DESKTOP),
        (f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) {KIT} Version/17.5 Mobile/15E148", Device.MOBILE),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile/15E148 Instagram 300.0 (iPhone14,5)",
            Device.MOBILE,
        ),
        (f"Mozilla/5.0 (Linux; Android 10; K) {KIT} Chrome/126.0.0.0 Mobile Safari/537.36", Device.MOBILE),
        (f"Mozilla/5.0 (Linux; Android 8.1.0; CUBOT X18) {KIT} Chrome/90.0 Mobile Safari/537.36", Device.MOBILE),
        ("Mozilla/5.0 (Android 14; Mobile; rv:128.0) Gecko/128.0 Firefox/128.0", Device.MOBILE),
        ("Mozilla/5.0 (Mobile; Nokia 8110 4G; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5", Device.MOBILE),
        ("Opera/9.80 (J2ME/MIDP; Opera Mini/9.80; U; en) Presto/2.5.25", Device.MOBILE),
        ("Mozilla/5.0 (Windows Phone 10.0; Android 6.0.1; Microsoft; Lumia 950) Mobile Safari/537.36", Device.MOBILE),
        (
            "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 Version/16.6 Mobile/15E148",
            Device.TABLET,
        ),
        (f"Mozilla/5.0 (Linux; Android 13; SM-X700) {KIT} Chrome/116.0.0.0 Safari/537.36", Device.TABLET),
        ("Mozilla/5.0 (Android 13; Tablet; rv:128.0) Gecko/128.0 Firefox/128.0", Device.TABLET),
        ("Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) AppleWebKit/537.36", Device.OTHER),
        ("Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 Chrome/79.0", Device.OTHER),
        (f"Mozilla/5.0 (Linux; Android 9; BRAVIA 4K GB) {KIT} Chrome/100.0 Safari/537.36", Device.OTHER),
        ("Mozilla/5.0 (PlayStation; PlayStation 5/3.11) AppleWebKit/605.1.15", Device.OTHER),
        ("", Device.OTHER),
        ("   ", Device.OTHER),
        ("-", Device.OTHER),
        ("something unknown/1.0", Device.OTHER),
        ("\udc80\x00", Device.OTHER),
    ],
)
def test_people_have_devices(text: str, device: Device) -> None:
    assert PARSE(text) == Agent(device, bot=False)


@pytest.mark.parametrize(
    "text",
    [
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        f"Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) {KIT} Chrome/126 Mobile (compatible; Googlebot/2.1)",
        "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
        "Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)",
        "Mozilla/5.0 (compatible; YandexBot/3.0)",
        "Mozilla/5.0 (compatible; Baiduspider/2.0)",
        "DuckDuckBot/1.1",
        "CCBot/2.0",
        "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
        "Twitterbot/1.0",
        "TelegramBot (like TwitterBot)",
        "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
        "WhatsApp/2.23.20.0",
        "facebookexternalhit/1.1",
        "LinkedInBot/1.0 (compatible; Mozilla/5.0)",
        "Mozilla/5.0 (compatible; AhrefsBot/7.0)",
        "curl/8.5.0",
        "Wget/1.21.4",
        "python-requests/2.32.3",
        "Python/3.11 aiohttp/3.14",
        "python-httpx/0.27",
        "Go-http-client/2.0",
        "okhttp/4.12.0",
        "Java/17.0.1",
        "axios/1.7.2",
        "PostmanRuntime/7.39",
        "libwww-perl/6.68",
        "Apache-HttpClient/4.5",
        f"Mozilla/5.0 (X11; Linux x86_64) {KIT} HeadlessChrome/126.0.0.0 Safari/537.36",
        f"Mozilla/5.0 (Macintosh) {KIT} Chrome/100 Safari/537.36 Chrome-Lighthouse",
        "Pingdom.com_bot_version_1.4",
        "Mozilla/5.0 (compatible; UptimeRobot/2.0)",
        "StatusCake",
        "check_http/v2.3",
        "Blackbox Exporter/0.24",
        "Mozilla/5.0 (compatible; Google-InspectionTool/1.0)",
        "Mediapartners-Google",
        "Feedfetcher-Google",
        "Iframely/1.3.1",
        "Mastodon/4.2.8 (http.rb/5.1.1; +https://mastodon.example/)",
        "Mozilla/5.0 (compatible; Embedly/0.2)",
    ],
)
def test_bots_are_known_and_have_no_device(text: str) -> None:
    assert PARSE(text) == Agent(Device.OTHER, bot=True)


def test_only_the_first_512_characters_count() -> None:
    assert PARSE("x" * 512 + " Googlebot/2.1") == Agent(Device.OTHER, bot=False)


@given(st.text(max_size=700))
@settings(max_examples=200)
def test_nothing_makes_it_raise(text: str) -> None:
    assert isinstance(PARSE(text).device, Device)


def test_patterns_are_loaded_late_and_once() -> None:
    parse = UserAgents(size_max=10)

    assert not parse.is_ready
    assert parse("") == Agent(Device.OTHER, bot=False)
    assert not parse.is_ready
    threads = [threading.Thread(target=parse.warm) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert parse.is_ready
