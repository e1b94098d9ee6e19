"""Commands about accounts: a list, and a new password."""

import json
from typing import Any

import pytest

from tests.support.clients import ask
from tests.support.process import Running
from tests.support.program import Run, done, failed


def create(run: Run, name: str) -> dict[str, Any]:
    command = ("user", "create", "--email", f"{name}@example.com", "--username", name, "--json")
    made: dict[str, Any] = json.loads(done(run(*command, PASSWORD="secret-1")))
    return made


def test_accounts_are_listed_newest_first(run: Run) -> None:
    first, second = create(run, "list-a"), create(run, "list-b")
    page = json.loads(done(run("user", "list", "--limit", "2", "--json")))
    assert page["users"] == [second, first]
    lines = done(run("user", "list", "--limit", "1", "--offset", "1")).splitlines()
    assert lines[0].split()[0::3] == [str(first["id"]), first["email"]]
    assert lines[0].split()[3:] == ["list-a@example.com", "list-a", "list-a"]
    assert lines[1] == f"1 of {page['total']}"


@pytest.mark.parametrize("name", ["email", "id"])
def test_a_new_password_is_set_for_who_forgot_the_old_one(run: Run, name: str) -> None:
    made = create(run, f"new-{name}")
    account = str(made[name])
    expected = f"account {made['id']} has a new password\n"
    assert done(run("user", "password", account, PASSWORD="secret-2")) == expected
    assert done(run("user", "password", account, typed="secret-3\n")) == expected
    assert json.loads(done(run("user", "password", account, "--json", PASSWORD="secret-4"))) == {
        "user_id": str(made["id"])
    }
    assert failed(run("user", "password", account, PASSWORD="short"), 1) == (
        "new_password must have at least 6 characters"
    )
    assert failed(run("user", "password", "none@example.com", PASSWORD="secret-5"), 1) == "user not found"
    line = "no password: set SHORTENER_PASSWORD or write it to standard input"
    assert failed(run("user", "password", account), 2) == line


@pytest.mark.parametrize("run", ["a running server"], indirect=True)
def test_the_new_password_holds_and_tokens_end(run: Run, server: Running) -> None:
    create(run, "holds")

    def log_in(password: str) -> Any:
        return ask(server.gateway, "POST", "/api/auth/login", {"email": "holds@example.com", "password": password})

    token = log_in("secret-1").json["token"]
    done(run("user", "password", "holds@example.com", PASSWORD="secret-2"))
    assert [log_in(password).status for password in ("secret-1", "secret-2")] == [401, 200]
    assert ask(server.gateway, "GET", "/api/auth/profile", token=token).status == 401
