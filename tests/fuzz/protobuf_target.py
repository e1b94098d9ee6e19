"""Requests beside google.protobuf: the same bytes are refused, and handlers see the message that it reads from others.

Input: a byte that chooses the class, then the message.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.fuzz.targets import Check
from tests.rpc.test_codec import google_outcome, outcome
from tests.support.messages import REQUESTS


@contextmanager
def target() -> Iterator[Check]:
    def check(data: bytes) -> None:
        cls = REQUESTS[data[0] % len(REQUESTS)] if data else REQUESTS[0]
        assert outcome(cls, data[1:]) == google_outcome(cls, data[1:])

    yield check
