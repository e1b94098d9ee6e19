"""The targets notice faults: with each of these planted, an input of the corpus breaks."""

import zlib
from typing import Any

import pytest

from shortener.links import destination
from shortener.redirect import head
from shortener.rest import json_codec as jsonio
from shortener.rpc import codec
from shortener.rpc.codec import decoder
from shortener.rpc.http2 import frames, hpack
from tests.fuzz.targets import Check, inputs, target


def evict_too_little(self: Any, room: int) -> None:
    while self._entries and self._size + room > self._limit + 32:
        name, value = self._entries.pop(0)
        self._size -= len(name) + len(value) + 32


def breaks(check: Check, data: bytes) -> bool:
    try:
        check(data)
    except Exception:  # noqa: BLE001 - whatever breaks
        return True
    return False


FAULTS = [
    pytest.param("frames", frames, "_unpadded", lambda payload: payload[1:], id="padding is kept"),
    pytest.param("hpack", hpack.Decoder, "_evict", evict_too_little, id="the table outgrows its limit"),
    pytest.param("hpack", hpack, "huffman_decode", bytes, id="Huffman strings are taken as they are"),
    pytest.param(
        "protobuf", codec, "decoder", lambda cls: lambda data: decoder(cls)(data[:-1]), id="the last byte is lost"
    ),
    pytest.param("json", jsonio, "_unique", dict, id="a field may come twice"),
    pytest.param("json", jsonio, "_check_surrogates", lambda value: None, id="half a surrogate pair may pass"),
    pytest.param("head", head, "_NOT_PLAIN", frozenset(), id="requests with bodies are plain"),
    pytest.param("journal", zlib, "crc32", lambda data: 0, id="damage is not noticed"),
    pytest.param("destination", destination, "_port", lambda *_, field: 80, id="every port is good"),
    pytest.param("destination", destination.OwnAddresses, "include", lambda *_: False, id="our own links are good"),
]


@pytest.mark.parametrize(("name", "where", "what", "fault"), FAULTS)
def test_a_planted_fault_is_noticed(
    monkeypatch: pytest.MonkeyPatch, name: str, where: Any, what: str, fault: Any
) -> None:
    monkeypatch.setattr(where, what, fault)
    with target(name) as check:
        assert any(breaks(check, data) for data in inputs(name))
