"""Tokens in headers."""

import pytest

from shortener import errors
from shortener.rest.gateway import bearer_token


@pytest.mark.parametrize("header", ["Bearer abc.def-_~+/=", "bearer abc.def-_~+/=", "BEARER   abc.def-_~+/="])
def test_a_bearer_token_is_found(header: str) -> None:
    assert bearer_token(header) == "abc.def-_~+/="


@pytest.mark.parametrize(
    "header",
    [None, "", " ", "Bearer", "Bearer ", "abc", "Basic abc", "Bearer a b", "Bearer a\tb", "Bearer é", "Bearerabc"],
)
def test_anything_else_is_unauthenticated(header: str | None) -> None:
    with pytest.raises(errors.Unauthenticated, match="a bearer token is required"):
        bearer_token(header)
