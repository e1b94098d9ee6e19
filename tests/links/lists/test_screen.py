"""The lists in use: read again when they change, kept when they break, and asked quickly."""

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from shortener import errors
from shortener.config.sections import Links
from shortener.errors import OperatorError
from shortener.links import LinkDraft
from shortener.links.lists.screen import MEMO_MAX, Screen, followed, load_screen
from tests.support.link_builders import a_link
from tests.support.link_fakes import a_link_service
from tests.support.waiting import until

KEPT = "a list was not read again, the one before it holds"


def screen_of(hosts: Path | None = None, codes: Path | None = None, size_max: int = 1000) -> Screen:
    screen = load_screen(
        Links(
            blocklist_file=str(hosts or ""),
            blocklist_size_max=size_max,
            quarantine_file=str(codes or ""),
            quarantine_size_max=size_max,
        )
    )
    assert screen is not None
    return screen


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    path = tmp_path / "hosts"
    path.write_text("0.0.0.0 bad.example\n")
    return path


@pytest.fixture
def codes(tmp_path: Path) -> Path:
    path = tmp_path / "codes"
    path.write_text("abc1234\n")
    return path


def replace(path: Path, text: str) -> None:
    """As a download that is done with care would."""
    other = path.with_suffix(".new")
    other.write_text(text)
    other.rename(path)


def check(screen: Screen) -> None:
    for each in (screen.hosts, screen.codes):
        if each is not None:
            each.check()


def test_without_files_there_is_no_screen() -> None:
    assert load_screen(Links()) is None


def test_what_is_withheld(hosts: Path, codes: Path) -> None:
    screen = screen_of(hosts, codes)
    assert screen.withholds(a_link(short_code="abc1234", destination="https://good.example/"))
    assert screen.withholds(a_link(short_code="other12", destination="https://a.bad.example/"))
    assert not screen.withholds(a_link(short_code="other12", destination="https://good.example/"))
    assert not screen_of(codes=codes).blocks("https://bad.example/")
    assert not screen_of(hosts=hosts).withholds(a_link(short_code="abc1234", destination="https://good.example/"))


async def test_no_link_is_made_to_a_blocked_host(hosts: Path) -> None:
    service = a_link_service(blocks=screen_of(hosts).blocks)
    with pytest.raises(errors.Invalid, match="long_url leads to a host that is blocked here") as caught:
        await service.create(LinkDraft("https://x.bad.example/", "me"))
    assert caught.value.field == "long_url"
    with pytest.raises(errors.Invalid, match="blocked here"):
        await service.create(LinkDraft("https://BAD.example", "me", alias="alias"))
    assert await service.create(LinkDraft("https://good.example/", "me"))


def test_a_changed_list_holds_at_once_also_for_what_was_judged_before(hosts: Path) -> None:
    screen = screen_of(hosts)
    asked = ("https://bad.example/", "https://worse.example/")
    assert [screen.blocks(each) for each in asked] == [True, False]
    replace(hosts, "worse.example\n")
    assert [screen.blocks(each) for each in asked] == [True, False]
    check(screen)
    assert [screen.blocks(each) for each in asked] == [False, True]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "cannot be read: No such file or directory"),
        (lambda path: replace(path, "<html>\n<p>\n"), "is no list of hosts: 2 lines hold none, 0 do"),
        (lambda path: replace(path, "a.example\n" * 1001), "has more than 1000 hosts"),
        (lambda path: replace(path, "x" * 100_000), "is no text of lines"),
        (lambda path: path.write_bytes(b"a.example\n\0"), "is no text of lines"),
        (lambda path: path.write_bytes(b"a.example\nb.ex\xe9mple\n"), "is not UTF-8 text"),
        (lambda path: (path.unlink(), path.mkdir()), "[Errno 21] Is a directory"),
    ],
)
def test_a_broken_list_changes_nothing_and_is_logged_once(
    hosts: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], object], reason: str
) -> None:
    screen = screen_of(hosts)
    spoil(hosts)
    for _ in range(3):
        check(screen)
    assert screen.blocks("https://bad.example/")
    assert [(record.message, record.__dict__["reason"].partition(": '")[0]) for record in caplog.records] == [
        (KEPT, reason)
    ]
    assert screen.hosts is not None
    assert screen.hosts.failures == 1
    if hosts.is_dir():
        hosts.rmdir()
    replace(hosts, "worse.example\n")
    check(screen)
    assert screen.blocks("https://worse.example/")
    assert len(caplog.records) == 1


def test_an_unchanged_list_is_not_read_again(hosts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = screen_of(hosts)
    assert screen.hosts is not None
    monkeypatch.setattr(screen.hosts, "_read", None)
    check(screen)
    os.utime(hosts, ns=(1, 1))
    with pytest.raises(TypeError):
        check(screen)


def test_a_list_that_cannot_be_read_at_first_names_its_key(tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as caught:
        screen_of(hosts=tmp_path / "none")
    assert str(caught.value) == f"[links] blocklist_file {tmp_path}/none: cannot be read: No such file or directory"
    with pytest.raises(OperatorError, match=r"\[links\] quarantine_file .*: cannot be read: Is a directory"):
        screen_of(codes=tmp_path)


def test_a_byte_order_mark_and_line_ends_of_another_system(hosts: Path) -> None:
    hosts.write_bytes(b"\xef\xbb\xbfbad.example\r\n# x\r\nworse.example")
    screen = screen_of(hosts)
    assert screen.blocks("http://bad.example/")
    assert screen.blocks("http://worse.example/")


def test_what_is_remembered_is_bounded(hosts: Path) -> None:
    screen = screen_of(hosts)
    for number in range(MEMO_MAX + 10):
        assert screen.blocks(f"https://{number}.bad.example/")
    assert len(screen._memo) == 10
    screen.blocks("https://bad.example/" + "x" * 600)
    assert len(screen._memo) == 10


async def test_files_are_followed_until_the_end(hosts: Path, codes: Path) -> None:
    screen = screen_of(hosts, codes)
    async with followed(screen, every_seconds=0.005):
        replace(hosts, "worse.example\n")
        replace(codes, "other12\n")
        await until(lambda: screen.blocks("https://worse.example/") and screen.withholds(a_link(short_code="other12")))
        assert not screen.withholds(a_link(short_code="abc1234"))
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("lists")] == []


async def test_a_fault_of_ours_does_not_end_the_watch(
    hosts: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = screen_of(hosts)
    assert screen.hosts is not None
    with monkeypatch.context() as patch:
        patch.setattr(screen.hosts, "check", None)
        async with followed(screen, every_seconds=0.005):
            await until(lambda: len(caplog.records) >= 2)
    assert {(record.levelno, record.message) for record in caplog.records} == {
        (logging.ERROR, "lists could not be checked")
    }


async def test_reading_is_called_off_when_the_end_comes(hosts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = screen_of(hosts, size_max=10_000_000)
    assert screen.hosts is not None
    began = threading.Event()
    inner = screen.hosts._read

    def read(lines: object) -> object:
        began.set()
        return inner(lines)  # type: ignore[arg-type] # handed through

    monkeypatch.setattr(screen.hosts, "_read", read)
    monkeypatch.setattr("shortener.links.lists.file.REST_SECONDS", 0.05)
    async with followed(screen, every_seconds=0.005):
        replace(hosts, "a.example\n" * 200_000)  # 61 chunks, three seconds of rests alone
        await until(began.is_set)
    assert screen.blocks("https://bad.example/")
