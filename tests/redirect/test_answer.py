import pytest

from shortener.redirect.answer import STATUSES, RedirectAnswer

DATE = "Fri, 15 Jan 2027 08:00:00 GMT"


def encoded(answer: RedirectAnswer, destination: str, now: int, *, closing: bool = False) -> bytes:
    before, behind = answer.around_destination(now, closing=closing)
    return before + destination.encode() + behind


def test_bytes_of_an_answer() -> None:
    answer = RedirectAnswer(302)
    expected = (
        b"HTTP/1.1 302 Found\r\nLocation: https://example.com/%2f?a=<date>\r\nCache-Control: private, max-age=0\r\n"
        b"Content-Length: 0\r\nDate: " + DATE.encode() + b"\r\nServer: shortener\r\n"
    )
    destination = "https://example.com/%2f?a=<date>"
    assert encoded(answer, destination, 1_800_000_000) == expected + b"\r\n"
    assert encoded(answer, destination, 1_800_000_000, closing=True) == expected + b"Connection: close\r\n\r\n"


@pytest.mark.parametrize("status", STATUSES)
def test_bytes_and_headers_say_the_same(status: int) -> None:
    answer = RedirectAnswer(status)
    lines = encoded(answer, "http://a.example/", 1_800_000_001).decode().split("\r\n")
    assert lines[0] == f"HTTP/1.1 {status} {answer.reason}"
    assert lines[1:-2] == [f"{k}: {v}" for k, v in answer.headers("http://a.example/", 1_800_000_001).items()]


def test_the_date_follows_the_clock() -> None:
    answer = RedirectAnswer(302)
    dates = [answer.headers("http://a.example/", now)["Date"][-12:] for now in (0, 1, 0)]
    assert dates == ["00:00:00 GMT", "00:00:01 GMT", "00:00:00 GMT"]


def test_other_statuses_are_refused() -> None:
    with pytest.raises(ValueError, match="304"):
        RedirectAnswer(304)
