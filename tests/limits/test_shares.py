"""Nobody takes the room of all others."""

from contextlib import ExitStack

import pytest

from shortener import errors
from shortener.limits.shares import Shares


def taken_by(shares: Shares, caller: str, stack: ExitStack) -> int:
    """How many places a caller gets who takes all that are given."""
    for number in range(100):
        try:
            stack.enter_context(shares.held(caller))
        except errors.Exhausted as error:
            assert (error.message, error.retry_after_seconds) == ("too many things", 5)  # noqa: PT017 - at any number
            assert error.overload is (number == 0)  # noqa: PT017 - as above
            return number
    raise AssertionError("never refused")


@pytest.mark.parametrize(
    ("size_max", "places"), [(1, [1, 0]), (2, [1, 1, 0]), (3, [2, 1, 0]), (20, [10, 5, 3, 1, 1, 0])]
)
def test_each_has_as_much_as_there_is_room_for_more(size_max: int, places: list[int]) -> None:
    shares = Shares(size_max, "things", retry_after_seconds=5)
    with ExitStack() as stack:
        assert [taken_by(shares, str(number), stack) for number in range(len(places))] == places
        assert shares.total == size_max
        with pytest.raises(errors.Exhausted):
            shares.check("0")
    assert shares.total == 0
    assert not shares._held
    shares.check("0")


def test_a_place_is_given_back_whatever_happens() -> None:
    shares = Shares(1, "things")
    for _ in range(3):
        with pytest.raises(KeyError), shares.held("a"):
            raise KeyError
    assert shares.total == 0
