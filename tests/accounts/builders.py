"""Accounts for tests, complete but for what the test is about."""

import dataclasses
from typing import Any

from shortener.accounts.model import Account, NewAccount

_NEW = NewAccount(
    email="user@example.com",
    username="",
    name="John Doe",
    password_hash="hash",
    created_at=1_704_153_600,
)
_STORED = Account(
    id=1,
    email="user@example.com",
    username="",
    name="John Doe",
    created_at=1_704_153_600,
    updated_at=1_704_153_600,
)


def a_new_account(**changes: Any) -> NewAccount:
    return dataclasses.replace(_NEW, **changes)


def an_account(**changes: Any) -> Account:
    return dataclasses.replace(_STORED, **changes)
