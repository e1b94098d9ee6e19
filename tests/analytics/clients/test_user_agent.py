"""User agents: devices and bots."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortener.analytics.clients.user_agent import UserAgents
from shortener.analytics.model import Agent, Device

PARSE = UserAgents(size_max=1000)
KIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
PHONE = f"Mozilla/5.0 (Linux; Android 12; %s) {KIT} Chrome/120.0.6099.280 Mobile Safari/537.36"


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
        ("Opera/9.80 (Android; Opera Mini/36.2.2254/119.132; U; id) Presto/2.12.423 Version/12.16", Device.MOBILE),
        ("Opera/9.80 (Android 2.3.7; Linux; Opera Mobi/46154) Presto/2.11.355 Version/12.10", Device.MOBILE),
        ("Opera/9.80 (Android 3.2; Linux; Opera Tablet/ADR-1207201819) Presto/2.10.254 Version/12.00", Device.TABLET),
        ("Dalvik/2.1.0 (Linux; U; Android 9; SM-G960F Build/PPR1.180610.011)", Device.MOBILE),
        ("Dalvik/2.1.0 (Linux; U; Android 13; SM-T870 Build/TP1A.220624.014)", Device.TABLET),
        ("Dalvik/2.1.0 (Linux; U; Android 7.0; Lenovo TB-8504F Build/NRD90M)", Device.TABLET),
        (f"Mozilla/5.0 (Linux; Android 4.4.2; QUMO Quest 402) {KIT} Chrome/71.0 Mobile Safari/537.36", Device.MOBILE),
        (f"Mozilla/5.0 (Linux; Android 6.0; conquest-S8) {KIT} Chrome/86.0 Mobile Safari/537.36", Device.MOBILE),
        (f"Mozilla/5.0 (Linux; Android 7.0; myA9 DTV) {KIT} Chrome/76.0 Mobile Safari/537.36", Device.MOBILE),
        (f"Mozilla/5.0 (X11; Linux x86_64; Quest 2) {KIT} OculusBrowser/20.0 VR Safari/537.36", Device.OTHER),
        (f"Mozilla/5.0 (Linux; Android 5.1; AFTS Build/LMY47O) {KIT} Version/4.0 Safari/537.36", Device.OTHER),
        ("mozilla/5.0 (linux; android 9; a80pro) applewebkit/537.36 chrome/83.0 mobile safari/537.36", Device.MOBILE),
        (f"Mozilla/5.0 (Linux; Android 5.0; Teclast X98 Pad) {KIT} Chrome/97.0 Safari/537.36", Device.TABLET),
        (f"Mozilla/5.0 (Linux; Android 9; KFMAWI) {KIT} Silk/80.5 like Chrome/80.0 Safari/537.36", Device.TABLET),
        ("", Device.OTHER),
        ("   ", Device.OTHER),
        ("-", Device.OTHER),
        ("+++", Device.OTHER),
        ("\u4e2d\u6587", Device.OTHER),
        ("\udc80\x00", Device.OTHER),
    ],
)
def test_people_have_devices(text: str, device: Device) -> None:
    assert PARSE(text) == Agent(device, bot=False)


@pytest.mark.parametrize(
    "text",
    [
        *(
            PHONE % device
            for device in (
                "XBot Junior", "XBot_Senior Build/O11019", "M bot 54", "CUBOT X18", "S222 Build/CUBOT", "Robot X1",
                "rubyplus", "moto g(50) 5G Build/S1RSS32.38-20-9-13; wv", "Spider 8", "Crawler 3 Build/PERL1.0",
                "IMO Discovery II", "Superion Radar Deluxe", "AURII Virtuoso", "Capture+", "CG|EON Blaze", "Scan Pro",
                "Moto G Monitor", "Preview 7 Build/JAVA2.0", "probe_1", "Headless One", "wget Build/CURL7.1", "HTTP 5",
            )
        ),
        *(
            f"{PHONE % 'SM-S918B Build/UP1A.231005.007; wv'} {app}"
            for app in (
                "CamScanner/4.8.5.2310271827", "DocScanner/2.0", "RSSReader/3.1", "NewsBreak/24.1", "QRScan/1.2",
                "SogouMobileBrowser/5.28.7", "GoogleApp/13.22.15.26.arm64", "Process/toolsmp", "Viber/27.4.0.0",
                "Instagram 94.0.0.22.116 Android (22/5.1; 320dpi; 720x1280; CUBOT; S550 Pro; mt6735; ru_RU)",
                "[FB_IAB/FB4A;FBAV/400.0.0.37;FBDV/XBot Junior;] MetaIAB",
            )
        ),
        "com.google.android.youtube/21.29.366(Linux; U; Android 14; pt_BR; latte Build/UP1A.231005.007) gzip",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile/15E148 GoogleWv/1.0 (WKWebView)",
        "iPhone (compatible; Smartphone2.0) NRC, nl.nrc.nrcapp 10.0.7 (197) / iOS 16.6",
        "ThePodcastApp/6.49.0 (iPhone; iOS 16.5.1; ) player (build 6775;  https://podcast.app/)",
        "WhatsApp/2.17.395 Android/6.0 Device/Meizu-M5_Note",
    ],
)  # fmt: skip
def test_names_of_devices_builds_and_apps_make_no_bot(text: str) -> None:
    assert PARSE(text) == Agent(Device.MOBILE, bot=False)


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
        "Mozilla/5.0 (compatible; Bluesky Cardyb/1.1; +mailto:support@example.com)",
        "something unknown/1.0",
        f"{PHONE % 'Nexus 5X'} (compatible; PetalBot;+https://webmaster.petalsearch.com/site/petalbot)",
        f"{PHONE % 'Nexus 5X'} (Applebot/0.1)",
        f"{PHONE % 'Nexus 5X'} https://deepcrawl.com/bot",
        f"{PHONE % 'Nexus 5X'} Uptime/1.0 (https://uptime.com)",
        f"{PHONE % 'Pixel 2 Build/OPD3.170816.012; Storebot-Google/1.0'}",
        f"{PHONE % 'Moto G (4)'} Chrome-Lighthouse",
        "Mozilla/5.0 (iPad; CPU OS 9_1 like Mac OS X) AppleWebKit/601.1 (KHTML, like Gecko; pageburst) CriOS/79.0",
        "AdsBot-Google-Mobile (+http://www.google.com/mobile/adsbot.html) Mozilla/5.0 (iPhone; CPU iPhone OS 9_1)",
        "DoCoMo/2.0 N905i(c100;TB;W24H16) (compatible; Googlebot-Mobile/2.1; +http://www.google.com/bot.html)",
    ],
)
def test_bots_are_known_and_have_no_device(text: str) -> None:
    assert PARSE(text) == Agent(Device.OTHER, bot=True)


def test_only_the_first_256_characters_count() -> None:
    desktop = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {KIT} ".ljust(256, "x")

    assert PARSE(f"{desktop} Googlebot/2.1") == Agent(Device.DESKTOP, bot=False)


@given(st.text(max_size=700))
@settings(max_examples=200)
def test_nothing_makes_it_raise(text: str) -> None:
    assert isinstance(PARSE(text).device, Device)


@pytest.mark.parametrize(
    "part",
    [
        "x",
        "(",
        "()",
        "a/1 ",
        "a/v1.1",
        "1.",
        ";a;",
        "@a",
        "a.",
        "-sm",
        "kfa",
        "stab ",
        "lib",
        "\u0130",
        "android (;",
        "abot-",
    ],
)
def test_no_header_takes_long(part: str) -> None:
    headers = [f"{part * 256}"[: 252 - at % 4] + str(at) for at in range(20)]
    PARSE(headers[0])
    started = time.process_time()

    for header in headers[1:]:
        PARSE(header)

    assert (time.process_time() - started) / len(headers) < 0.003  # A tenth of that on an idle machine.
