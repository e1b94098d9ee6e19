"""QR codes, read back by an independent decoder."""

import asyncio
import io
import itertools
import time
import xml.etree.ElementTree as ET

import pytest
import segno
import zxingcpp
from PIL import Image

from shortener import errors
from shortener.links.codes import random_code
from shortener.links.qr import MODULE_PIXELS, QUIET_ZONE, SLICE_SECONDS, QrCodes, draw_png, draw_svg

BASES = ["http://localhost:8081", "https://sho.rt", "https://" + "x" * 184 + ".example", "HTTP://LOCALHOST:8081"]
CODES = ["a1b2", "abc1234", "My-link_2", "7" * 32, "z" * 50, "-_-", "0000000"]


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


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("code", CODES)
def test_both_kinds_are_read_as_the_short_url(base: str, code: str) -> None:
    short_url = f"{base}/{code}"
    png = opened(draw_png(short_url))
    assert read(png) == [("QR Code", short_url)]
    assert drawn(draw_svg(short_url)).tobytes() == png.tobytes()


def test_small_and_turned_images_are_read() -> None:
    for _ in range(20):
        short_url = f"http://localhost:8081/{random_code(7)}"
        image = opened(draw_png(short_url)).rotate(7, expand=True, fillcolor=255).resize((150, 150))
        assert read(image) == [("QR Code", short_url)]


def test_modules_and_quiet_zone() -> None:
    image = opened(draw_png("http://localhost:8081/abc1234"))
    code = segno.make_qr("http://localhost:8081/abc1234", error="m", mask=3, boost_error=False)
    assert image.size == (code.symbol_size(MODULE_PIXELS, QUIET_ZONE)[0],) * 2
    expected = io.BytesIO()
    code.save(expected, kind="png", scale=MODULE_PIXELS, border=QUIET_ZONE)
    assert image.tobytes() == opened(expected.getvalue()).tobytes()


def test_never_micro_qr() -> None:
    assert read(opened(draw_png("http://a/b"))) == [("QR Code", "http://a/b")]
    assert opened(draw_png("http://a/b")).size[0] >= (21 + 2 * QUIET_ZONE) * MODULE_PIXELS


async def test_rendering() -> None:
    render = QrCodes(size_max=2, waiting_max=4)
    assert await render("http://a/b", "png", "1") == draw_png("http://a/b")
    assert await render("http://a/b", "svg", "1") == draw_svg("http://a/b")


async def test_the_last_images_are_kept() -> None:
    render = QrCodes(size_max=2, waiting_max=4)
    first = await render("http://a/1", "png", "1")
    assert await render("http://a/1", "png", "1") is first
    await render("http://a/2", "png", "1")
    await render("http://a/3", "png", "1")
    assert await render("http://a/1", "png", "1") is not first


async def test_too_many_at_once_are_refused_first_those_of_who_has_most() -> None:
    render = QrCodes(size_max=10, waiting_max=6)
    owners = ["a"] * 5 + ["b", "b", "b"] + ["c", "c"] + ["d"]
    calls = [render(f"http://a/{n}", "png", owner) for n, owner in enumerate(owners)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    refused = {n: result.overload for n, result in enumerate(results) if isinstance(result, errors.Exhausted)}
    assert refused == {3: False, 4: False, 7: False, 9: False, 10: True}
    assert [n for n, result in enumerate(results) if result == draw_png(f"http://a/{n}")] == [0, 1, 2, 5, 6, 8]
    assert render.waiting == 0
    assert await render("http://a/9", "png", "1") == draw_png("http://a/9")


async def test_others_get_their_turn_between_images(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr("shortener.links.qr.monotonic", lambda: next(ticks) * SLICE_SECONDS / 2)  # two images a slice
    render = QrCodes(size_max=100, waiting_max=200)
    turns = 0
    done = False

    async def other() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(other())
        urls = [f"http://a/{number}" for number in range(21)]
        assert await asyncio.gather(*[render(url, "png", "1") for url in urls]) == [draw_png(url) for url in urls]
        done = True
    assert 7 <= turns <= 14


async def test_a_failing_image_fails_its_caller_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(short_url: str) -> bytes:
        if short_url == "http://a/1":
            raise ValueError("no such image")
        return draw_png(short_url)

    monkeypatch.setattr("shortener.links.qr.draw_png", draw)
    render = QrCodes(size_max=10, waiting_max=20)
    results = await asyncio.gather(*[render(f"http://a/{n}", "png", "1") for n in range(3)], return_exceptions=True)
    assert [results[0], results[2]] == [draw_png("http://a/0"), draw_png("http://a/2")]
    assert isinstance(results[1], ValueError)
    assert render.waiting == 0


async def test_a_cancelled_caller_frees_its_place() -> None:
    render = QrCodes(size_max=10, waiting_max=4)
    tasks = [asyncio.create_task(render(f"http://a/{number}", "png", "1")) for number in range(2)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert await asyncio.gather(render("http://a/1", "png", "1"), render("http://a/2", "png", "1"))


def test_drawing_holds_the_loop_only_briefly() -> None:
    started = time.process_time()
    for _ in range(10):
        draw_png(f"http://localhost:8081/{random_code(7)}")
    assert (time.process_time() - started) / 10 < 0.010  # a tenth of this on an idle machine
