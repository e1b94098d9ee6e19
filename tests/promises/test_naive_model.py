"""Thousands of random examples of what tests/analytics tries with hundreds: statistics equal the naive model.

The quick form is tests/analytics/sqlite/test_stats_properties.py.
"""

from collections.abc import Callable

import hypothesis
import pytest

from tests.analytics.sqlite import test_stats_properties as properties
from tests.analytics.sqlite.test_stats_properties import Subject, subject

EXAMPLES = 5_000
PROMISE = "counters, events and roll-ups agree"
__all__ = ["subject"]  # the fixture


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    "name",
    [
        "test_stats_equal_the_naive_model",
        "test_series_equal_the_naive_model",
        "test_geo_stats_equal_the_naive_model",
    ],
)
def test_statistics_equal_the_naive_model(
    subject: Subject,
    figure: Callable[[str, str], None],
    name: str,
) -> None:
    examined = getattr(properties, name)
    examined._hypothesis_internal_use_settings = hypothesis.settings(max_examples=EXAMPLES, deadline=None)
    examined(subject=subject)
    figure(PROMISE, f"{name.removeprefix('test_').replace('_', ' ')}: {EXAMPLES:,} random examples")
