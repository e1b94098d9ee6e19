"""Tokens in headers, and what a call knows of its caller."""

import pytest

from shortener import errors
from shortener.rest.auth import Principal, bearer_token
from shortener.rest.routes import Call


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


def test_a_call_knows_its_caller() -> None:
    assert Call(principal=Principal("7")).caller_id() == "7"
    with pytest.raises(errors.Unauthenticated):
        Call().caller_id()


def test_query_values_have_their_types() -> None:
    call = Call(query={"limit": 5, "format": "png"})
    assert (call.number("limit"), call.text("format")) == (5, "png")
    with pytest.raises(AssertionError):
        call.text("limit")
