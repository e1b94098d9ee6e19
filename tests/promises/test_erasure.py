"""Accounts that are erased under `kill -9`: what was begun ends after the next start, and nobody else loses a thing."""

import asyncio
import json
import random
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import grpclib
import pytest
from grpclib.client import Channel
from pyroaring import BitMap

from shortener.backup.compact import compact
from shortener.gen.user import EraseUserRequest, UserServiceStub
from tests.promises.recount import assert_counts_match_recount, copied
from tests.support import process
from tests.support.waiting import wait_for

PROMISE = "an erased account is gone, also when killed meanwhile"
LINKS = 400
CLICKS = 40
FILL = """
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count})
INSERT INTO {table} SELECT {columns} FROM n"""


def canary(user_id: int) -> bytes:
    """How the destinations of an account begin."""
    return f"https://canary-of-{user_id}.example/".encode()


def fill(data_dir: Path, user_id: int) -> None:
    """Give an account links, each with clicks, roll-ups and visitors that agree with one another."""
    hour, day, month = 1_799_996_400, 1_799_971_200, 1_798_761_600
    count = f"{LINKS * CLICKS}"
    first = f"{user_id * 1_000_000}"
    with closing(sqlite3.connect(data_dir / "shortener.db")) as raw, raw:
        raw.execute("INSERT OR IGNORE INTO visitors (id, digest) VALUES (1, randomblob(16))")
        members = BitMap([1]).serialize()
        raw.execute(
            FILL.format(
                count=LINKS,
                table="links",
                columns=f"{first} + i, 'c{user_id}-' || i, '{canary(user_id).decode()}' || hex(zeroblob(i * 10)), "
                f"'{user_id}', 1, 1, 0, i % 3 = 0, 1, {CLICKS}, 0",
            )
        )
        raw.execute(
            FILL.format(
                count=count,
                table="clicks (link_id, clicked_at, visitor_id, country, city, referrer, device, bot, counted)",
                columns=f"{first} + i % {LINKS}, {hour} + i % 3600, 1, 'DE', '', 'direct', 'other', 0, 1",
            )
        )
        for span, period in (("h", hour), ("d", day), ("m", month)):
            for dimension, value in (("device", "other"), ("country", "DE"), ("referrer", "direct")):
                raw.execute(
                    FILL.format(
                        count=LINKS,
                        table="click_rollups",
                        columns=f"{first} + i, '{span}', {period}, '{dimension}', '{value}', {CLICKS}",
                    )
                )
            raw.execute(
                FILL.format(count=LINKS, table="visitor_sets", columns=f"{first} + i, '{span}', {period}, 1, ?"),
                (members,),
            )


def erase(address: str, user_id: int) -> bool | None:
    """Ask for an erasure; None when the server died over it."""

    async def ask() -> bool:
        host, _, port = address.rpartition(":")
        async with Channel(host, int(port)) as channel:
            answer = await UserServiceStub(channel, timeout=30).erase_user(EraseUserRequest(user_id=str(user_id)))
            return answer.finished

    try:
        return asyncio.run(ask())
    except (OSError, grpclib.GRPCError, grpclib.exceptions.StreamTerminatedError):
        return None


def status(url: str, method: str = "GET", body: bytes | None = None, token: str = "") -> int:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def register(server: process.Running, number: int) -> tuple[int, str]:
    email, name = f"erased{number}@example.com", f"Person {number} Erased"
    body = json.dumps({"email": email, "password": "good-password", "name": name}).encode()
    request = urllib.request.Request(
        f"http://{server.gateway}/api/auth/register", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        made = json.loads(answer.read())
    return int(made["user_id"]), str(made["token"])


def content(data_dir: Path) -> bytes:
    """All that is in any file there."""
    return b"".join(path.read_bytes() for path in data_dir.rglob("*") if path.is_file())


def one(data_dir: Path, statement: str) -> int:
    with closing(sqlite3.connect(data_dir / "shortener.db")) as raw:
        return int(raw.execute(statement).fetchone()[0])


@pytest.mark.timeout(7200)
def test_erasures_under_kill_9(
    tmp_path: Path,
    start: Callable[..., process.Running],
    size: Callable[[int, int], int],
    figure: Callable[[str, str], None],
) -> None:
    data_dir, dice, interrupted, rounds = tmp_path / "data", random.Random(), 0, size(1, 40)
    server = start(data_dir)
    stays, token = register(server, 0)
    for number in range(1, rounds + 1):
        goes, gone_token = register(server, number)
        assert server.stop() == 0
        fill(data_dir, goes)
        if number == 1:
            fill(data_dir, stays)
        server = start(data_dir)
        assert status(f"http://{server.gateway}/api/urls", token=gone_token) == 200

        was_answered = asyncio.run(_erase_and_kill(server, goes, dice.uniform(0.0, 0.5)))
        with copied(data_dir) as raw:
            interrupted += raw.execute(
                f"SELECT count(*) FROM erased_accounts WHERE id = {goes} AND pending"
            ).fetchone()[0]
            is_begun = raw.execute(f"SELECT 1 FROM erased_accounts WHERE id = {goes}").fetchone()
        server = start(data_dir)
        assert is_begun or not was_answered
        wait_for(partial(erase, server.url, goes), seconds=60)

        assert status(f"http://{server.gateway}/api/urls", token=gone_token) == 401
        assert status(f"http://{server.redirect}/c{goes}-1") == 410
        assert status(f"http://{server.gateway}/api/urls/c{stays}-1", token=token) == 200
        first, end = goes * 1_000_000, (goes + 1) * 1_000_000
        for table in ("clicks", "click_rollups", "visitor_sets"):
            assert one(data_dir, f"SELECT count(*) FROM {table} WHERE link_id >= {first} AND link_id < {end}") == 0
        assert one(data_dir, f"SELECT count(*) FROM links WHERE owner_id = '{goes}'") == 0
        assert one(data_dir, f"SELECT count(*) FROM links WHERE owner_id = '{stays}'") == LINKS
        assert one(data_dir, "SELECT count(*) FROM clicks") == LINKS * CLICKS
        assert one(data_dir, "SELECT count(*) FROM links WHERE owner_id = '' AND destination <> ''") == 0
        assert server.stop() == 0
        compact(data_dir, lambda done, total: None)
        left = content(data_dir)
        for trace in (canary(goes), f"erased{number}@example.com".encode(), f"Person {number} Erased".encode()):
            assert trace not in left
        assert left.count(canary(stays)) >= LINKS
        server = start(data_dir)
    assert erase(server.url, stays) is not None
    wait_for(partial(erase, server.url, stays), seconds=60)
    assert server.stop() == 0
    assert_counts_match_recount(data_dir)
    figure(
        PROMISE,
        f"{rounds} accounts of {LINKS} links and {LINKS * CLICKS:,} clicks, {interrupted} killed half-way: "
        "all gone after the next start, none of the others' rows; no byte of their emails, names and destinations is "
        "left in any file after a compaction",
    )


async def _erase_and_kill(server: process.Running, user_id: int, seconds: float) -> bool:
    """Ask for an erasure and kill the server after that time; tell whether it was answered before."""
    asking = asyncio.create_task(asyncio.to_thread(erase, server.url, user_id))
    await asyncio.sleep(seconds)
    server.kill()
    return await asking is not None
