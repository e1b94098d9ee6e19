"""Hostile URLs: each is refused or taken as expected, and what is taken means to browsers what it means to us."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings

from shortener import errors
from shortener.links.destination import host_of, own_addresses, parse_destination
from shortener.links.hosts import canonical
from tests.support import node
from tests.support.hostile_urls import HOSTILE, REFUSED, TAKEN

OWN = own_addresses("http://localhost:8081", 8081)


@pytest.fixture(scope="module")
def whatwg() -> Iterator[node.Node]:
    with node.running() as running:
        yield running


@pytest.mark.parametrize("url", REFUSED, ids=range(len(REFUSED)))
def test_refused(url: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        parse_destination(url, OWN)
    assert (caught.value.message, caught.value.field) == (REFUSED[url], "long_url")


@pytest.mark.parametrize("url", TAKEN, ids=range(len(TAKEN)))
def test_taken(url: str) -> None:
    assert parse_destination(url, OWN) == TAKEN[url]


def differences(kept: list[str], read: list[node.Read | None]) -> list[object]:
    """What browsers would follow elsewhere than we think. A URL they cannot read at all leads nowhere."""
    return [
        (ours, theirs)
        for ours, theirs in zip(kept, read, strict=True)
        if theirs is not None
        and (
            theirs.scheme != ours.partition(":")[0].lower()
            or canonical(theirs.host) != host_of(ours)
            or theirs.user
            or OWN.include(canonical(theirs.host), theirs.port)
        )
    ]


def test_browsers_read_what_is_taken_as_we_do(whatwg: node.Node) -> None:
    assert differences(list(TAKEN.values()), whatwg.read(list(TAKEN.values()))) == []


@settings(max_examples=400)
@given(HOSTILE)
def test_browsers_read_whatever_is_taken_as_we_do(whatwg: node.Node, url: str) -> None:
    try:
        kept = parse_destination(url, OWN)
    except errors.Invalid:
        return
    assert differences([kept], whatwg.read([kept])) == []
