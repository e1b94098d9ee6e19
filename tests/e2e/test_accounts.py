"""Closed registration and changed passwords, on the real server: over both wires, and after a restart."""

from pathlib import Path
from typing import Any

import pytest
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from shortener.gen import user
from tests.support import process
from tests.support.clients import ask

PASSWORD, NEW = "secret-of-old", "secret-of-new"


async def test_a_closed_registration_and_a_changed_password(tmp_path: Path) -> None:
    person = {"email": "closed@example.com", "password": PASSWORD, "name": "Clo Sed"}
    with process.running(tmp_path / "data", AUTH_REGISTRATION="closed") as server:
        refused = ask(server.gateway, "POST", "/api/auth/register", person)
        assert (refused.status, refused.json["type"], refused.json["detail"]) == (
            403,
            "/problems/forbidden",
            "registration is closed",
        )
        host, port = server.user.split(":")
        async with Channel(host, int(port)) as channel:
            users = user.UserServiceStub(channel)
            await users.register(user.RegisterRequest(**person))  # over loopback everybody is trusted
            await users.create_user(user.CreateUserRequest("u@example.com", "ulf", PASSWORD))

            def log_in(password: str) -> Any:
                return ask(server.gateway, "POST", "/api/auth/login", {"email": person["email"], "password": password})

            old = log_in(PASSWORD).json["token"]
            body = {"old_password": PASSWORD, "new_password": NEW}
            wrong = body | {"old_password": "another-one"}
            assert ask(server.gateway, "POST", "/api/auth/password", wrong, token=old).status == 401
            new = ask(server.gateway, "POST", "/api/auth/password", body, token=old).json["token"]
            assert [log_in(password).status for password in (PASSWORD, NEW)] == [401, 200]
            with pytest.raises(GRPCError) as caught:
                await users.change_password(user.ChangePasswordRequest(old, NEW, PASSWORD))
            assert (caught.value.status, caught.value.message) == (Status.UNAUTHENTICATED, "invalid or expired token")
            newest = await users.change_password(user.ChangePasswordRequest(new, NEW, NEW))
    with process.running(tmp_path / "data") as server:
        found = [ask(server.gateway, "GET", "/api/auth/profile", token=token).status for token in (old, new)]
        assert found == [401, 401]
        assert ask(server.gateway, "GET", "/api/auth/profile", token=newest.token).status == 200
