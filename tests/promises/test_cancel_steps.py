"""Every method cancelled at each place where it waits: all of it is done or nothing is, and nothing stays behind."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import betterproto
import pytest

import shortener
from shortener.app import App, open_app
from shortener.gen import analytics, url, user
from shortener.rpc.guard import guarded, mounted
from tests.promises.cancellation import When, run_cancelled_at
from tests.promises.recount import assert_counts_match_recount

PASSWORD = "secret-of-the-cancelled"
STEPS_MAX = 50
PROMISE = "a cancelled call leaves nothing half done"
STATE = """SELECT (SELECT count(*) FROM links), (SELECT count(*) FROM links WHERE deleted_at = 0),
    (SELECT coalesce(sum(increments), 0) FROM links), (SELECT coalesce(sum(clicks), 0) FROM links),
    (SELECT count(*) FROM clicks), (SELECT count(*) FROM accounts), (SELECT count(DISTINCT name) FROM accounts),
    (SELECT count(*) FROM accounts WHERE token_version > 0)"""
NOTHING = (0, 0, 0, 0, 0, 0, 0, 0)


class Call:
    """A call as a handler sees it."""

    metadata: dict[str, str] = {}  # noqa: RUF012 - nobody changes it
    deadline = None
    peer = SimpleNamespace(addr=lambda: ("127.0.0.1", 1))

    def __init__(self, request: betterproto.Message) -> None:
        self._request = request
        self.answers: list[betterproto.Message] = []

    async def recv_message(self) -> betterproto.Message:
        return self._request

    async def send_message(self, message: betterproto.Message) -> None:
        self.answers.append(message)


@dataclass
class Stage:
    """The domain with a link and an account; `fresh` numbers make requests that were never made before."""

    app: App
    handlers: dict[str, Callable[[Any], Any]]
    fresh: "itertools.count[int]"
    token: str = ""

    async def call(self, path: str, request: betterproto.Message) -> Any:
        call = Call(request)
        await self.handlers[path](call)
        return call.answers[-1]

    async def link(self) -> str:
        request = url.CreateUrlRequest(long_url="https://example.com/", user_id="me", omit_qr_code=True)
        return str((await self.call("/url.URLService/CreateURL", request)).short_code)

    async def cold(self) -> str:
        """Make a link that the cache does not know."""
        code = await self.link()
        self.app.cache.changed(code)
        return code

    async def state(self) -> tuple[int, ...]:
        row = await self.app.core.database.read(lambda on: on.row(STATE))
        assert row is not None
        return tuple(int(value or 0) for value in row)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    storage = shortener.Storage(data_dir=str(tmp_path / "data"))
    async with open_app(shortener.Config(storage=storage)) as app:
        services = guarded([mounted(app.operations)], new_id=app.core.new_id)
        handlers = {path: handler.func for service in services for path, handler in service.__mapping__().items()}
        made = Stage(app, handlers, itertools.count(1))
        request = user.RegisterRequest(email="me@example.com", password=PASSWORD, name="Me")
        made.token = (await made.call("/user.UserService/Register", request)).token
        yield made


Prepare = Callable[[Stage], Any]  # a request, or an awaitable of one
LINK, CLICK, ACCOUNT = (1, 1, 0, 0, 0, 0, 0, 0), (0, 0, 0, 1, 1, 0, 0, 0), (0, 0, 0, 0, 0, 1, 0, 0)


async def _track(stage: Stage) -> betterproto.Message:
    return analytics.TrackClickRequest(short_code=await stage.cold(), ip_address="203.0.113.7")


async def _stats(stage: Stage) -> betterproto.Message:
    return analytics.GetStatsRequest(short_code=await stage.cold())


async def _series(stage: Stage) -> betterproto.Message:
    return analytics.GetTimeSeriesRequest(short_code=await stage.cold())


async def _geo(stage: Stage) -> betterproto.Message:
    return analytics.GetGeoStatsRequest(short_code=await stage.cold())


async def _get(stage: Stage) -> betterproto.Message:
    return url.GetUrlRequest(short_code=await stage.cold())


async def _delete(stage: Stage) -> betterproto.Message:
    return url.DeleteUrlRequest(short_code=await stage.link())


async def _increment(stage: Stage) -> betterproto.Message:
    return url.IncrementClicksRequest(short_code=await stage.link())


def _custom(stage: Stage) -> betterproto.Message:
    return url.CreateCustomUrlRequest(alias=f"alias-{next(stage.fresh)}", long_url="https://example.com/", user_id="me")


def _register(stage: Stage) -> betterproto.Message:
    return user.RegisterRequest(email=f"r{next(stage.fresh)}@example.com", password=PASSWORD, name="Me")


def _create_user(stage: Stage) -> betterproto.Message:
    name = f"user{next(stage.fresh)}"
    return user.CreateUserRequest(email=f"{name}@example.com", username=name, password=PASSWORD)


def _update(stage: Stage) -> betterproto.Message:
    return user.UpdateProfileRequest(token=stage.token, name=f"Me {next(stage.fresh)}")


async def _erase(stage: Stage) -> betterproto.Message:
    # Two, so that the numbers tell of the one that stays.
    made, _ = [await stage.call("/user.UserService/Register", _register(stage)) for _ in range(2)]
    return user.EraseUserRequest(user_id=made.user_id)


async def _change_password(stage: Stage) -> betterproto.Message:
    request = _register(stage)
    made = await stage.call("/user.UserService/Register", request)
    return user.ChangePasswordRequest(token=made.token, old_password=PASSWORD, new_password="another " + PASSWORD)


async def _set_password(stage: Stage) -> betterproto.Message:
    made = await stage.call("/user.UserService/Register", _register(stage))
    return user.SetPasswordRequest(user_id=made.user_id, new_password="another " + PASSWORD)


METHODS: dict[str, tuple[Prepare, set[tuple[int, ...]]]] = {
    "url.URLService/CreateURL": (lambda _: url.CreateUrlRequest(long_url="https://a.example/", user_id="me"), {LINK}),
    "url.URLService/CreateCustomURL": (_custom, {LINK}),
    "url.URLService/GetURL": (_get, {NOTHING}),
    "url.URLService/ListURLs": (lambda _: url.ListUrLsRequest(user_id="me"), {NOTHING}),
    "url.URLService/DeleteURL": (_delete, {(0, -1, 0, 0, 0, 0, 0, 0)}),
    "url.URLService/IncrementClicks": (_increment, {(0, 0, 1, 0, 0, 0, 0, 0)}),
    "user.UserService/Register": (_register, {ACCOUNT}),
    "user.UserService/CreateUser": (_create_user, {(0, 0, 0, 0, 0, 1, 1, 0)}),
    "user.UserService/Login": (lambda _: user.LoginRequest(email="me@example.com", password=PASSWORD), {NOTHING}),
    "user.UserService/GetProfile": (lambda stage: user.GetProfileRequest(token=stage.token), {NOTHING}),
    "user.UserService/UpdateProfile": (_update, {NOTHING, (0, 0, 0, 0, 0, 0, 1, 0)}),
    "user.UserService/ValidateToken": (lambda stage: user.ValidateTokenRequest(token=stage.token), {NOTHING}),
    "user.UserService/GetUser": (lambda _: user.GetUserRequest(user_id=1), {NOTHING}),
    "user.UserService/ListUsers": (lambda _: user.ListUsersRequest(), {NOTHING}),
    "user.UserService/ChangePassword": (_change_password, {(0, 0, 0, 0, 0, 0, 0, 1)}),
    "user.UserService/SetPassword": (_set_password, {(0, 0, 0, 0, 0, 0, 0, 1)}),
    "user.UserService/ExportUser": (lambda _: user.ExportUserRequest(user_id="1", with_clicks=True), {NOTHING}),
    "user.UserService/EraseUser": (_erase, {(0, 0, 0, 0, 0, -1, 0, 0)}),
    "analytics.AnalyticsService/TrackClick": (_track, {CLICK}),
    "analytics.AnalyticsService/GetStats": (_stats, {NOTHING}),
    "analytics.AnalyticsService/GetTimeSeries": (_series, {NOTHING}),
    "analytics.AnalyticsService/GetGeoStats": (_geo, {NOTHING}),
}


async def prepared(stage: Stage, prepare: Prepare) -> betterproto.Message:
    request = prepare(stage)
    return request if isinstance(request, betterproto.Message) else await request  # type: ignore[no-any-return] # one of Prepare's two kinds


def tasks_of_calls() -> "set[asyncio.Task[Any]]":
    """Return all tasks but the timers of collector and journal, which come and go."""
    return {task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__qualname__", "") != "Event.wait"}


async def assert_at_rest(app: App, tasks: "set[asyncio.Task[Any]]") -> None:
    """See that nothing of any call is left, once passwords that were being hashed are."""
    async with asyncio.timeout(10):
        while app.accounts._passwords._jobs or tasks_of_calls() - tasks or app.core.database.writer.depth:  # type: ignore[attr-defined] # the real one  # noqa: ASYNC110 - many things, not one event
            await asyncio.sleep(0.001)
        await app.core.database.transaction(lambda tx: None)  # What the writer's thread has begun is done after this,
        await app.privacy.erasure._done.wait()  # and the erasure which that began after this.
    readers = app.core.database.readers
    assert (len(readers._free), readers.depth) == (readers._count, 0)
    for part in (app.cache.links, app.cache.records):
        assert (part._fills, part.reading) == ({}, set())  # type: ignore[attr-defined] # of whatever they hold


async def cancel_everywhere(stage: Stage, path: str, when: When) -> int:
    """Cancel the method at each of its suspensions in turn; return how many there were."""
    prepare, effects = METHODS[path]
    for step in range(1, STEPS_MAX):
        request = await prepared(stage, prepare)
        tasks, before = tasks_of_calls(), await stage.state()
        cancelled = await run_cancelled_at(stage.handlers[f"/{path}"](Call(request)), step, when)
        await assert_at_rest(stage.app, tasks)
        effect = tuple(now - then for now, then in zip(await stage.state(), before, strict=True))
        assert effect in effects | ({NOTHING} if cancelled else set()), (path, step, when, effect)
        if not cancelled:
            return step - 1
    raise AssertionError(f"{path} never ends")


@pytest.mark.timeout(3600)
async def test_a_method_cancelled_at_each_of_its_steps_is_done_or_not_begun(
    stage: Stage, tmp_path: Path, size: Callable[[int, int], int], figure: Callable[[str, str], None]
) -> None:
    assert {f"/{path}" for path in METHODS} == set(stage.handlers), "a method is missing here"
    rounds, steps = size(1, 30), 0
    for _ in range(rounds):
        for path in METHODS:
            steps += sum([await cancel_everywhere(stage, path, when) for when in When])
        for path, (prepare, effects) in METHODS.items():
            before = await stage.state()
            await stage.call(f"/{path}", await prepared(stage, prepare))
            assert before != await stage.state() or NOTHING in effects, path
    assert steps > rounds * 40
    await stage.app.core.database.close()
    assert_counts_match_recount(tmp_path / "data")
    figure(PROMISE, f"{len(METHODS)} methods, {steps:,} cancellations at their suspensions in turn: all or nothing")
