"""JSON bodies: what is read is what Python's and google.protobuf's readers read, and it comes back.

Input: a byte that chooses the class, then the body.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import betterproto
from google.protobuf import json_format

from shortener import errors
from shortener.gen import analytics, url, user
from shortener.rest import json_codec as jsonio
from shortener.rpc.codec import as_google
from shortener.rpc.descriptors import descriptor, google_class
from tests.fuzz.targets import Check

CLASSES: list[type[betterproto.Message]] = [
    url.CreateUrlRequest,
    url.ListUrLsRequest,
    analytics.TrackClickRequest,
    user.RegisterRequest,
    user.UpdateProfileRequest,
    analytics.GetTimeSeriesRequest,
]


def known(cls: type[betterproto.Message], values: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is not a field: google.protobuf knows other spellings too."""
    names = (field.name for field in descriptor(cls).fields)
    return {name: values[name] for name in names if values.get(name) is not None}


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of members that all have their own names."""
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


@contextmanager
def target() -> Iterator[Check]:
    def check(data: bytes) -> None:
        cls = CLASSES[data[0] % len(CLASSES)] if data else CLASSES[0]
        body = data[1:]
        try:
            values = jsonio.read_object(body)
        except errors.Invalid:
            return
        assert json.loads(body, object_pairs_hook=once) == values
        assert jsonio.read_object(jsonio.dump(values)) == values
        message, refused = None, ""
        try:
            message = jsonio.message_from(cls, values)
        except errors.Invalid as error:
            refused = error.field
        if message is None:
            assert refused
            return
        theirs = json_format.ParseDict(known(cls, values), google_class(cls)())
        assert theirs == as_google(message)
        assert jsonio.message_from(cls, jsonio.read_object(jsonio.dump(jsonio.message_to_dict(message)))) == message

    yield check
