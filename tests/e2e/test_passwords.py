"""Passwords in the real server: hashes are renewed, and what waits to be hashed is bounded."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from argon2 import PasswordHasher

from tests.support import process
from tests.support.clients import ask, status, stubs_of

PASSWORD = "secret-of-hers"
AT_ONCE = 16


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("passwords") / "data"


@pytest.fixture(scope="module")
def running(data_dir: Path) -> Iterator[process.Running]:
    with process.running(data_dir, AUTH_HASH_QUEUE_MAX="1") as server:
        yield server


def register(stubs: SimpleNamespace, pb: SimpleNamespace, email: str) -> None:
    stubs.users.Register(pb.user_pb2.RegisterRequest(email=email, password=PASSWORD, name="P"))


def hash_of(data_dir: Path, email: str, new: str = "") -> str:
    """The stored hash of an account; put `new` in its place first."""
    database = sqlite3.connect(data_dir / "shortener.db", timeout=10)
    try:
        if new:
            assert database.execute("UPDATE accounts SET password_hash = ? WHERE email = ?", (new, email)).rowcount == 1
            database.commit()
        row = database.execute("SELECT password_hash FROM accounts WHERE email = ?", (email,)).fetchone()
        return str(row[0])
    finally:
        database.close()


def test_a_login_renews_a_hash_of_lower_parameters(
    running: process.Running, data_dir: Path, pb: SimpleNamespace
) -> None:
    with stubs_of(pb, running) as stubs:
        register(stubs, pb, "old@example.com")
        assert hash_of(data_dir, "old@example.com").startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        old = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
        hash_of(data_dir, "old@example.com", old)
        wrong = pb.user_pb2.LoginRequest(email="old@example.com", password=PASSWORD + "x")
        assert status(stubs.users.Login, wrong) == "UNAUTHENTICATED"
        assert hash_of(data_dir, "old@example.com") == old
        right = pb.user_pb2.LoginRequest(email="old@example.com", password=PASSWORD)
        assert stubs.users.Login(right).token
        renewed = hash_of(data_dir, "old@example.com")
        assert renewed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert stubs.users.Login(right).token
        assert hash_of(data_dir, "old@example.com") == renewed


def test_what_waits_to_be_hashed_is_bounded_and_refused_politely(running: process.Running, pb: SimpleNamespace) -> None:
    person = {"email": "queue@example.com", "password": PASSWORD}
    with stubs_of(pb, running) as stubs, ThreadPoolExecutor(AT_ONCE) as threads:
        register(stubs, pb, person["email"])
        over_rest = list(threads.map(lambda _: ask(running.gateway, "POST", "/api/auth/login", person), range(AT_ONCE)))
        assert {answer.status for answer in over_rest} == {200, 503}
        refused = [answer for answer in over_rest if answer.status == 503]
        assert {answer.headers["retry-after"] for answer in refused} == {"1"}
        assert {answer.json["type"] for answer in refused} == {"/problems/exhausted"}
        request = pb.user_pb2.LoginRequest(**person)
        over_grpc = list(threads.map(lambda _: status(stubs.users.Login, request), range(AT_ONCE)))
        assert set(over_grpc) == {"OK", "RESOURCE_EXHAUSTED"}
        assert status(stubs.users.Login, request) == "OK"
