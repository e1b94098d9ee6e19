"""Every request and answer of the contract, by its generated class, and random fields for them."""

from typing import Any

import betterproto
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import strategies as st

from shortener.gen import analytics, url, user

HANDLERS = [
    handler
    for service in (url.UrlServiceBase, user.UserServiceBase, analytics.AnalyticsServiceBase)
    for handler in service().__mapping__().values()
]
REQUESTS: list[type[betterproto.Message]] = list(dict.fromkeys(handler.request_type for handler in HANDLERS))
ANSWERS: list[type[betterproto.Message]] = list(dict.fromkeys(handler.reply_type for handler in HANDLERS))

_EDGES = [
    edge + off for power in (0, 6, 7, 14, 28, 31, 35, 63) for edge in (1 << power, -(1 << power)) for off in (-1, 0)
]


def _integers(bits: int) -> st.SearchStrategy[int]:
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    return st.integers(low, high) | st.sampled_from([edge for edge in _EDGES if low <= edge <= high])


_VALUES: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_STRING: st.text(st.characters(exclude_categories=["Cs"]), max_size=150),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_INT32: _integers(32),
    FieldDescriptor.CPPTYPE_INT64: _integers(64),
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32, allow_nan=False, allow_infinity=False).filter(bool),
}


def _values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    one = fields_of(field.message_type) if field.message_type else _VALUES[field.cpp_type]
    return st.lists(one, max_size=4) if field.is_repeated else one


@st.composite
def fields_of(draw: st.DrawFn, message: Descriptor) -> dict[str, Any]:
    """Draw values of some of a message's fields; a message inside is a dictionary of its own."""
    chosen = draw(st.lists(st.sampled_from(list(message.fields)), unique_by=lambda field: field.name))
    return {field.name: draw(_values(field)) for field in chosen}
