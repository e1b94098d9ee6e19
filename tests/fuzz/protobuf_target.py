"""The protobuf codec beside google.protobuf: the same bytes are refused, and the same message is read from others.

Input: a byte that chooses the class, then the message.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import betterproto

from shortener.rpc import codec
from tests.fuzz.targets import Check
from tests.rpc.oracle import ALL, Everything
from tests.rpc.test_codec import google_outcome, outcome

CLASSES: list[type[betterproto.Message]] = [Everything, *ALL]


@contextmanager
def target() -> Iterator[Check]:
    def check(data: bytes) -> None:
        cls = CLASSES[data[0] % len(CLASSES)] if data else Everything
        wire = data[1:]
        ours = outcome(cls, wire)
        theirs = google_outcome(cls, wire)
        if ours != theirs and theirs is not None:
            theirs = outcome(cls, theirs)  # a signalling NaN comes out quiet
        assert ours == theirs
        if ours is not None:
            assert codec.encode(codec.decode(cls, ours)) == ours

    yield check
