"""QR codes: each module as segno draws it, and read back by an independent decoder."""

import asyncio
import io
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable

import pytest
import segno
import zxingcpp
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shortener.links import qr
from shortener.links.codes import ALPHABET, random_code
from shortener.links.qr import MODULE_PIXELS, QUIET_ZONE, QrCodes, draw_png, draw_svg, modules

BASE = "http://localhost:8081"
LONG = "https://" + "x" * 184 + ".example"
BASES = [BASE, "https://sho.rt", LONG, "HTTP://LOCALHOST:8081"]
CODES = ["a1b2", "abc1234", "My-link_2", "7" * 32, "z" * 50, "-_-", "0000000"]
VERSIONS = {1: 0, 2: 10, 3: 20, 4: 40, 5: 60, 6: 80, 7: 100, 8: 120, 9: 150, 10: 176, 11: 193}
"""Lengths of a host whose short URLs take each version at level M. `base_url` is too short for more."""

PREPARED = {base: QrCodes(base) for base in BASES}
"""Shared, since what is prepared once is the same for all tests."""


def opened(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png)) as image:
        image.verify()
    with Image.open(io.BytesIO(png)) as image:
        assert (image.format, image.mode) == ("PNG", "1")
        return image.convert("L")


def read(image: Image.Image) -> list[tuple[str, str]]:
    return [(str(code.format), code.text) for code in zxingcpp.read_barcodes(image)]


def drawn(svg: bytes) -> Image.Image:
    """Draw the rectangles of an SVG's second path."""
    root = ET.fromstring(svg)
    _, _, side, height = map(int, root.attrib["viewBox"].split())
    assert side == height
    image = Image.new("L", (side, side), 255)
    for step in root[1].attrib["d"].removesuffix("z").split("z"):
        start, width = step.removeprefix("M").split("v")[0].split("h")
        x, y = map(int, start.split())
        image.paste(0, (x, y, x + int(width), y + 1))
    return image.resize((side * MODULE_PIXELS, side * MODULE_PIXELS), Image.Resampling.NEAREST)


def by_segno(short_url: str) -> segno.QRCode:
    return segno.make_qr(short_url, error="m", mode="byte", mask=3, boost_error=False)


def pixels_by_segno(code: segno.QRCode) -> bytes:
    """What segno's own PNG shows."""
    expected = io.BytesIO()
    code.save(expected, kind="png", scale=MODULE_PIXELS, border=QUIET_ZONE)
    return opened(expected.getvalue()).tobytes()


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("code", CODES)
async def test_both_kinds_are_read_as_the_short_url(base: str, code: str) -> None:
    short_url = f"{base}/{code}"
    png = opened(await PREPARED[base](short_url, "png"))
    assert read(png) == [("QR Code", short_url)]
    assert drawn(await PREPARED[base](short_url, "svg")).tobytes() == png.tobytes()


@pytest.mark.parametrize(("version", "length"), VERSIONS.items())
async def test_every_version_has_segnos_pixels_and_is_read(version: int, length: int) -> None:
    base = f"http://{'x' * length}"
    short_url = f"{base}/{'a-1_Z' * (4 if version == 11 else 1)}"
    code = by_segno(short_url)
    assert code.version == version
    image = opened(await QrCodes(base)(short_url, "png"))
    assert image.size == (code.symbol_size(MODULE_PIXELS, QUIET_ZONE)[0],) * 2
    assert image.tobytes() == pixels_by_segno(code)
    assert read(image) == [("QR Code", short_url)]


@settings(deadline=None)  # the first code of a length takes long
@given(st.sampled_from([BASE, LONG]), st.text(ALPHABET + "_-", min_size=3, max_size=50))
def test_each_module_is_as_segno_draws_it(base: str, code: str) -> None:
    assert asyncio.run(PREPARED[base](f"{base}/{code}", "png")) == draw_png(modules(f"{base}/{code}"))
    assert asyncio.run(PREPARED[base](f"{base}/{code}", "svg")) == draw_svg(modules(f"{base}/{code}"))


async def test_small_and_turned_images_are_read() -> None:
    for _ in range(20):
        short_url = f"{BASE}/{random_code(7)}"
        image = opened(await PREPARED[BASE](short_url, "png")).rotate(7, expand=True, fillcolor=255).resize((150, 150))
        assert read(image) == [("QR Code", short_url)]


async def test_never_micro_qr() -> None:
    image = opened(await QrCodes("http://a")("http://a/b", "png"))
    assert read(image) == [("QR Code", "http://a/b")]
    assert image.size[0] >= (21 + 2 * QUIET_ZONE) * MODULE_PIXELS


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of what segno draws from now on."""
    asked: list[str] = []

    def draw(short_url: str) -> str:
        asked.append(short_url)
        return modules(short_url)

    monkeypatch.setattr(qr, "modules", draw)
    return asked


async def gathered(render: QrCodes, codes: Iterable[str]) -> list[bytes]:
    return await asyncio.gather(*[render(f"{BASE}/{code}", "png") for code in codes])


async def test_segno_draws_each_change_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = counted(monkeypatch)
    render = QrCodes(BASE)
    expected = [draw_png(modules(f"{BASE}/{code}")) for code in ("abcde", "fghij", "ABCDE")]
    assert await gathered(render, ["abcde", "fghij", "ABCDE"]) == expected
    assert len(asked) == 2 + 5 * 7
    await render(f"{BASE}/123456", "png")
    assert len(asked) == 2 + 5 * 7 + 2 + 7  # of the same version: one more place
    await render(f"{BASE}/654321", "svg")
    assert len(asked) == len(set(asked)) == 2 + 5 * 7 + 2 + 7


async def test_others_get_their_turn_between_what_segno_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = counted(monkeypatch)
    task = asyncio.create_task(gathered(QrCodes(BASE), ["abc", "abcd", "abcde"]))  # type: ignore[arg-type] # a coroutine
    most = 0
    while not task.done():
        before = len(asked)
        await asyncio.sleep(0)
        most = max(most, len(asked) - before)
    assert most <= 4  # the last change of one length with its two first, and the next one's
    assert await task == [draw_png(modules(f"{BASE}/{code}")) for code in ("abc", "abcd", "abcde")]


async def test_a_cancelled_caller_leaves_the_rest_to_those_who_wait() -> None:
    render = QrCodes(BASE)
    first, second = (asyncio.create_task(render(f"{BASE}/{code}", "png")) for code in ("abcd", "efgh"))  # type: ignore[arg-type] # coroutines
    for _ in range(10):
        await asyncio.sleep(0)
    first.cancel()
    assert await second == draw_png(modules(f"{BASE}/efgh"))
    assert first.cancelled()


async def test_tables_that_would_draw_another_code_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a character's change depended on its neighbour."""

    def draw(short_url: str) -> str:
        return modules(short_url.replace("ab", "xy"))

    monkeypatch.setattr(qr, "modules", draw)
    render = QrCodes(BASE)
    assert await render(f"{BASE}/bbbb", "png") == draw_png(modules(f"{BASE}/bbbb"))
    render = QrCodes(BASE)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="another QR code than segno"):
            await render(f"{BASE}/abab", "png")


async def test_what_is_no_short_code_is_never_drawn_wrong() -> None:
    with pytest.raises(UnicodeEncodeError):
        await QrCodes(BASE)(f"{BASE}/abcé", "png")


async def test_drawing_holds_the_loop_only_briefly() -> None:
    """By CPU time, so that a busy machine does not count. Each is a tenth of this on an idle one."""
    render = PREPARED[BASE]
    await render(f"{BASE}/abc1234", "png")
    started = time.process_time()
    for _ in range(100):
        await render(f"{BASE}/{random_code(7)}", "png")
    assert (time.process_time() - started) / 100 < 0.0003
    started = time.process_time()
    modules(f"{LONG}/{'x' * 50}")
    assert time.process_time() - started < 0.03
