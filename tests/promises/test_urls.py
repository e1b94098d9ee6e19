"""Browsers read every destination that is taken as this service does: Node's `new URL` is asked."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from shortener import errors
from shortener.links.destination import parse_destination
from tests.links.test_whatwg import OWN, differences
from tests.support import node
from tests.support.hostile_urls import HOSTILE


def test_browsers_agree(size: Callable[[int, int], int], figure: Callable[[str, str], None]) -> None:
    counts = {"made": 0, "taken": 0, "readable": 0}
    with node.running() as whatwg:

        @settings(max_examples=size(5, 5000))
        @given(st.lists(HOSTILE, min_size=40, max_size=60))
        def check(urls: list[str]) -> None:
            kept = []
            for url in urls:
                try:
                    kept.append(parse_destination(url, OWN))
                except errors.Invalid:
                    continue
            read = whatwg.read(kept)
            assert differences(kept, read) == []
            counts["made"] += len(urls)
            counts["taken"] += len(kept)
            counts["readable"] += sum(each is not None for each in read)

        check()
    assert counts["readable"] > counts["made"] / 100
    figure(
        "browsers read destinations as we do",
        f"{counts['made']} hostile texts, {counts['taken']} taken, {counts['readable']} of them readable by Node; "
        "0 read differently",
    )
