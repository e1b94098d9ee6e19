"""`shortener.open` inside somebody else's event loop: it starts, stops, and leaves nothing behind."""

import asyncio
import gc
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from functools import partial
from pathlib import Path

import pytest

import shortener
from shortener.links import LinkDraft
from shortener.server.sockets import NAMES

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD)


def config(data_dir: Path, **changes: object) -> shortener.Config:
    ports = {
        "grpc": shortener.Grpc(url_port=0, user_port=0, analytics_port=0),
        "gateway": shortener.Gateway(port=0),
        "redirect": shortener.Redirect(port=0),
        "server": shortener.Server(notice_seconds=0),
    }
    return shortener.Config(storage=shortener.Storage(data_dir=str(data_dir)), **(ports | changes))  # type: ignore[arg-type] # sections by name


def held() -> dict[str, object]:
    """Everything that could stay behind, but tasks: they belong to a loop."""
    gc.collect()
    files = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            files[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the listing's own
            continue
    return {
        "threads": {thread.name for thread in threading.enumerate()},
        "files": files,
        "signals": {number: signal.getsignal(number) for number in SIGNALS},
        "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook),
    }


@pytest.fixture
def _nothing_stays() -> Iterator[None]:
    before = held()
    yield
    assert held() == before


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory of an earlier run: making one takes half a second, for its table of countries."""
    data_dir = tmp_path_factory.mktemp("prepared") / "data"
    asyncio.run(use(data_dir, serve=False))
    gc.collect()
    gc.freeze()  # so that `held` need not look at what other tests have left, over and over
    return data_dir


@pytest.fixture
def data_dir(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "data"))


async def alone(work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` and see that no task, thread or file is left while the loop still lives."""
    before, tasks = held(), asyncio.all_tasks()
    try:
        await work()
    finally:
        await asyncio.sleep(0)  # transports close in the turn after
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == tasks
        assert held() == before


async def use(data_dir: Path, *, serve: bool, **changes: object) -> None:
    async with shortener.open(config(data_dir, **changes), serve=serve) as app:
        made = await app.links.create(LinkDraft("https://example.com/", "me", with_qr=True))
        assert (await app.links.details(made.link.short_code)).destination == "https://example.com/"
        assert sorted(app.addresses) == (sorted(NAMES) if serve else [])
        for address in app.addresses.values():
            host, _, port = address.rpartition(":")
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
            await writer.wait_closed()


@pytest.mark.usefixtures("_nothing_stays")
@pytest.mark.parametrize("serve", [False, True])
def test_it_opens_twice_in_one_loop_and_again_in_another(data_dir: Path, serve: bool) -> None:
    async def twice() -> None:
        await alone(lambda: use(data_dir, serve=serve))
        await alone(lambda: use(data_dir, serve=serve))

    asyncio.run(twice())
    asyncio.run(twice())


def test_it_runs_in_uvloop_as_well(data_dir: Path) -> None:
    uvloop = pytest.importorskip("uvloop", reason="needs the package uvloop")
    before: list[dict[str, object]] = []
    for _ in range(2):  # uvloop keeps a file of its own from its first loop on
        before.append(held())
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(use(data_dir, serve=True))
    assert held() == before[1]


@pytest.mark.parametrize("serve", [False, True])
async def test_a_body_that_raises_is_heard_and_leaves_nothing(data_dir: Path, serve: bool) -> None:
    async def fail() -> None:
        async with shortener.open(config(data_dir), serve=serve):
            raise LookupError("the body's own")

    with pytest.raises(LookupError, match="the body's own"):
        await alone(fail)


async def test_two_data_directories_are_served_at_once(data_dir: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(data_dir, tmp_path / "other"))

    async def both() -> None:
        async with shortener.open(config(data_dir)) as one, shortener.open(config(other)) as two:
            assert not set(one.addresses.values()) & set(two.addresses.values())

    await alone(both)


def busy_port(data_dir: Path, port: int) -> shortener.Config:
    return config(data_dir, redirect=shortener.Redirect(port=port))


def unwritable(data_dir: Path, _: int) -> shortener.Config:
    return config(data_dir / "shortener.db" / "data")


def bad_secret(data_dir: Path, _: int) -> shortener.Config:
    return config(data_dir, auth=shortener.Auth(secret_file=str(data_dir / "none")))


def bad_cities(data_dir: Path, _: int) -> shortener.Config:
    return config(data_dir, analytics=shortener.Analytics(city_database=str(data_dir / "shortener.db")))


def bad_journal(data_dir: Path, _: int) -> shortener.Config:
    shutil.rmtree(data_dir / "journal")
    (data_dir / "journal").write_text("a file where a directory belongs")
    return config(data_dir)


def bad_database(data_dir: Path, _: int) -> shortener.Config:
    (data_dir / "shortener.db").write_bytes(b"SQLite format 3" + bytes(range(256)) * 32)
    return config(data_dir)


@pytest.mark.parametrize("broken", [busy_port, unwritable, bad_secret, bad_cities, bad_journal, bad_database])
async def test_a_start_that_fails_says_why_in_one_line_and_leaves_nothing(
    data_dir: Path, broken: Callable[[Path, int], shortener.Config]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = broken(data_dir, taken.getsockname()[1])

        async def start() -> None:
            async with shortener.open(settings):
                raise AssertionError("it started")

        with pytest.raises(shortener.OperatorError) as caught:
            await alone(start)
        assert "\n" not in str(caught.value)


async def test_a_data_directory_has_one_owner(data_dir: Path) -> None:
    async with shortener.open(config(data_dir), serve=False):
        with pytest.raises(shortener.OperatorError, match="in use by process"):
            await use(data_dir, serve=True)
    await use(data_dir, serve=False)


class Cancelling:
    """Runs a coroutine and cancels it the moment it waits for the nth time, or at that time and ever after."""

    def __init__(self, work: Coroutine[object, None, None], nth: int, *, again: bool) -> None:
        self.work, self.nth, self.again = work, nth, again
        self.waits = 0

    def __await__(self) -> Generator[object, None, None]:
        task = asyncio.current_task()
        assert task is not None
        step: Callable[[], object] = lambda: self.work.send(None)  # noqa: E731 - replaced each time
        while True:
            try:
                awaited = step()
            except StopIteration:
                return
            self.waits += 1
            if self.waits == self.nth or (self.again and self.waits > self.nth):
                asyncio.get_running_loop().call_soon(task.cancel)
            try:
                yield awaited
            except BaseException as error:  # noqa: BLE001 - handed on
                step = partial(self.work.throw, error)
            else:
                step = partial(self.work.send, None)

    async def run(self) -> None:
        await self


@pytest.mark.parametrize(("again", "step"), [(False, 2), (True, 5)])
async def test_cancelling_at_any_moment_leaves_nothing(data_dir: Path, again: bool, step: int) -> None:
    """Moments at which opening, the body and closing wait are cancelled, in turn."""

    async def whole() -> None:
        async with shortener.open(config(data_dir)):
            await asyncio.sleep(0)

    await whole()
    nth, outcome = 0, "cancelled"
    while outcome == "cancelled":
        nth += step
        cancelling = Cancelling(whole(), nth, again=again)

        async def attempt(cancelling: Cancelling = cancelling) -> None:
            await asyncio.create_task(cancelling.run())

        try:
            await alone(attempt)
        except asyncio.CancelledError:
            continue
        outcome = "finished"
    assert cancelling.waits < nth, "a cancellation was swallowed"
    assert nth > 10
