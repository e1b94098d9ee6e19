import base64
import hashlib
import io
import json
import re

import pytest
from PIL import Image

from shortener.redirect import pages

STATUSES = (400, 404, 405, 410, 429, 500, 503, 504)


@pytest.mark.parametrize("content", [pages.HOME, *(pages.error_page(status, "request-1") for status in STATUSES)])
def test_pages_load_nothing_and_allow_their_own_style_alone(content: bytes) -> None:
    text = content.decode()
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in pages.HTML_HEADERS["Content-Security-Policy"]
    assert "<script" not in text
    assert "style=" not in text
    assert re.findall(r'(?:href|src)="(.*?)"', text) == ["/favicon.ico"]
    assert text.startswith('<!doctype html>\n<html lang="en">')
    assert text.count("<h1>") == 1
    assert len(content) < 4000


def test_texts_are_escaped() -> None:
    text = pages.page("<b>", '"&', small="<i>").decode()
    assert "<b>" not in text
    assert "<i>" not in text
    assert "&quot;&amp;" in text


def test_only_a_fault_of_ours_shows_the_request() -> None:
    shown = [status for status in STATUSES if b"request-1" in pages.error_page(status, "request-1")]
    assert shown == [500]


def test_problem_details() -> None:
    assert json.loads(pages.problem(410, "request-1")) == {
        "type": "/problems/gone",
        "title": "No longer available",
        "status": 410,
        "detail": "the link has expired or was deleted",
    }
    assert json.loads(pages.problem(500, "request-1")) == {
        "type": "/problems/internal",
        "title": "Internal error",
        "status": 500,
        "detail": "internal error",
        "request_id": "request-1",
    }
    assert json.loads(pages.problem(405, ""))["type"] == "/problems/method_not_allowed"


def test_the_icon_is_one() -> None:
    with Image.open(io.BytesIO(pages.FAVICON)) as image:
        assert (image.format, image.size) == ("ICO", (16, 16))
        picture = image.convert("RGBA")
    assert picture.getpixel((0, 0))[3] == 0  # type: ignore[index] # RGBA pixels are tuples
    assert picture.getpixel((10, 2)) == (0x1E, 0x5A, 0xC8, 255)
