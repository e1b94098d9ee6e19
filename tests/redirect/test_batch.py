import logging

import pytest

from shortener import errors
from shortener.redirect.batch import Counting
from shortener.redirect.decision import Visit
from shortener.redirect.state import Traffic
from tests.redirect.fakes import MemoryClicks, a_link

LINK = a_link()


def offer(counting: Counting) -> None:
    counting.offer(LINK, "127.0.0.1", Visit("agent", "referrer", ()))


def test_clicks_are_flushed_once() -> None:
    clicks, traffic = MemoryClicks(), Traffic()
    counting = Counting(clicks, traffic)
    counting.flush()
    offer(counting)
    offer(counting)
    counting.flush()
    counting.flush()
    assert clicks.recorded == [("abc1234", "127.0.0.1", "agent", "referrer")] * 2
    assert (clicks.flushes, traffic.lost_clicks) == (1, 0)


@pytest.mark.parametrize("failure", [OSError(28, "No space left"), errors.Exhausted("full"), RuntimeError("a bug")])
def test_a_failing_flush_raises_nothing_and_is_logged_once_a_spell(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    clicks, traffic = MemoryClicks(), Traffic()
    counting = Counting(clicks, traffic)
    with caplog.at_level(logging.ERROR):
        for trouble in (failure, failure, None, failure):
            clicks.flush_failure = trouble
            offer(counting)
            counting.flush()
    assert traffic.lost_clicks == 3
    assert len(caplog.records) == 2
    assert bool(caplog.records[0].exc_info) == isinstance(failure, RuntimeError)


def test_a_failing_offer_raises_nothing() -> None:
    clicks, traffic = MemoryClicks(), Traffic()
    counting = Counting(clicks, traffic)
    clicks.offer_failure = ValueError("a bug")
    offer(counting)
    counting.flush()
    assert (clicks.flushes, traffic.lost_clicks) == (0, 1)
