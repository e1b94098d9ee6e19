"""JSON in and out: limits, strictness, and messages there and back."""

import json
import math
import struct
import time
from typing import Any

import betterproto
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from shortener import errors
from shortener.gen import analytics, url
from shortener.rest import json_codec as jsonio
from shortener.rpc import codec
from shortener.rpc.descriptors import descriptor, google_class
from tests.support.messages import ANSWERS, REQUESTS, fields_of


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"{}", {}),
        (b' {"a": [1, -2.5, true, false, null, "x"]}\n', {"a": [1, -2.5, True, False, None, "x"]}),
        ('{"ключ": "\\ud83d\\ude00 \\u00e9 \\" \\\\ [ { "}'.encode(), {"ключ": '😀 é " \\ [ { '}),
        (b'{"n": 12345678901234567890}', {"n": 12345678901234567890}),
        (b'{"a": ' + b"[" * 31 + b"]" * 31 + b"}", {"a": eval("[" * 31 + "]" * 31)}),
    ],
)
def test_an_object_is_read(data: bytes, value: dict[str, Any]) -> None:
    assert jsonio.read_object(data) == value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"[]",
        b"1",
        b"null",
        b'"x"',
        b"{",
        b"{} {}",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": 01}',
        b'{"a": 1, "a": 2}',
        b'{"b": {"a": 1, "a": 2}}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": 123456789012345678901}',
        b'{"a": ' + b"9" * 10_000 + b"}",
        b'{"a": "\\ud800"}',
        b'{"a": ["\\udc00"]}',
        b'{"\\ud800": 1}',
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        b'\xef\xbb\xbf{"a": 1}',
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-32-le"),
        b'{"a": "\n"}',
        b'{"a": "\0"}',
        b'{"a": ' + b"[" * 32 + b"]" * 32 + b"}",
        b'{"a":' * 100_000,
        b"[" * 100_000,
        b'{"a": "' + b"\\" * 99_999,
        b'{"a": "' + b'\\"' * 32_000,
        b'{"a": ["' + b'\\",' * 20_000,
        b'{"a": ' + b"[[]," * 16_000,
        b'{"a": ' + b"[{}," * 16_000 + b"[]" + b"]" * 16_000 + b"}",
        b"{" + b'"' * 99_999,
    ],
)
def test_anything_else_is_invalid_and_quickly(data: bytes) -> None:
    start = time.process_time()
    with pytest.raises(errors.Invalid):
        jsonio.read_object(data)
    assert time.process_time() - start < 0.5


@settings(max_examples=500, deadline=None)
@given(
    st.one_of(st.binary(max_size=60), st.text('{}[]":,\\u0123456789abdeflnrstuNIy -+.', max_size=60).map(str.encode))
)
def test_random_bytes_are_read_or_invalid(data: bytes) -> None:
    try:
        value = jsonio.read_object(data)
    except errors.Invalid:
        return
    assert json.loads(data) == value


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(max_size=5), _JSON, max_size=4), st.booleans())
def test_any_json_comes_back(value: dict[str, Any], ascii_only: bool) -> None:
    assert jsonio.read_object(json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")) == value


_WRONG: dict[str, list[Any]] = {
    "long_url": [5, True, [], {}, 1.5],
    "expires_at": ["5", True, 1.0, [], {}],
    "omit_qr_code": ["true", 1, 0, [], {}],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in _WRONG.items() for value in values])
def test_a_value_of_another_type_names_its_field(field: str, value: Any) -> None:
    with pytest.raises(errors.Invalid, match=field) as raised:
        jsonio.message_from(url.CreateUrlRequest, {field: value})
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("cls", "field", "value"),
    [
        (url.CreateUrlRequest, "expires_at", 2**63),
        (url.CreateUrlRequest, "expires_at", -(2**63) - 1),
        (url.ListUrLsRequest, "limit", 2**31),
    ],
)
def test_an_integer_out_of_range_names_its_field(cls: type[betterproto.Message], field: str, value: int) -> None:
    with pytest.raises(errors.Invalid, match=f"{field} is out of range") as raised:
        jsonio.message_from(cls, {field: value})
    assert raised.value.field == field


def test_null_absent_hidden_and_unknown_fields_are_zero() -> None:
    values = {"long_url": None, "user_id": 5, "nothing": {}, "expires_at": 7}
    message = jsonio.message_from(url.CreateUrlRequest, values, hidden=frozenset({"user_id"}))
    assert message == url.CreateUrlRequest(expires_at=7)


def test_an_unset_message_is_null_and_other_fields_are_there() -> None:
    assert jsonio.message_to_dict(url.GetUrlResponse()) == {"url": None, "found": False}
    assert jsonio.message_to_dict(url.ListUrLsResponse()) == {"urls": [], "total": 0, "has_more": False}
    assert (
        jsonio.dump(jsonio.message_to_dict(url.ListUrLsRequest(user_id="é")))
        == '{"limit":0,"offset":0,"user_id":"é"}'.encode()
    )


@given(st.data())
def test_a_request_is_read_as_google_does(data: st.DataObject) -> None:
    cls = data.draw(st.sampled_from(REQUESTS))
    values = data.draw(fields_of(descriptor(cls)))
    message = jsonio.message_from(cls, jsonio.read_object(jsonio.dump(values)))
    assert message == cls(**values)
    assert json_format.ParseDict(values, google_class(cls)()) == codec.as_google(message)


@given(st.data())
def test_an_answer_is_what_google_writes_but_for_integers_as_texts(data: st.DataObject) -> None:
    cls = data.draw(st.sampled_from(ANSWERS))
    message = codec.build(cls, **data.draw(fields_of(descriptor(cls))))
    written = jsonio.dump(jsonio.message_to_dict(message))
    theirs = json_format.MessageToDict(
        codec.as_google(message), preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    assert with_numbers(descriptor(cls), theirs) == json.loads(written) == jsonio.message_to_dict(message)
    assert jsonio.dump(jsonio.message_to_dict(cls().parse(bytes(codec.encoder(cls)(message))))) == written


def with_numbers(message: Descriptor, values: dict[str, Any]) -> dict[str, Any]:
    """Return google.protobuf's JSON with 64-bit integers as numbers, and null for messages that are not set."""
    changed = {}
    for field in message.fields:
        items = values.get(field.name)
        if field.cpp_type == FieldDescriptor.CPPTYPE_INT64:
            items = int(items)
        elif field.message_type and items is not None:
            inner = field.message_type
            items = [with_numbers(inner, item) for item in items] if field.is_repeated else with_numbers(inner, items)
        changed[field.name] = items
    return changed


@settings(max_examples=300, deadline=None)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_floats_are_written_as_short_as_32_bits_allow(value: float) -> None:
    short = jsonio.shortest_float(value)
    assert struct.pack("<f", short) == struct.pack("<f", value)
    assert len(f"{short:.9g}") <= len(f"{value:.9g}")
    assert math.copysign(1, short) == math.copysign(1, value)


def test_percentages_look_like_googles() -> None:
    stat = analytics.CountryStat(percentage=27.99995231628418)
    theirs = json_format.MessageToDict(codec.as_google(stat))
    assert jsonio.message_to_dict(stat)["percentage"] == theirs["percentage"] == 27.999952
